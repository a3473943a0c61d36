/**
 * Moves a secondary private address or a route in Amazon EC2, with the instance's own role.
 */
import { type Call, call, type Refusal } from "./api.ts";
import type { Place, Provider } from "./move.ts";
import { type Credentials, sign } from "./sign.ts";

/** Of the EC2 API. */
const VERSION = "2016-11-15";
const TOKEN_SECONDS = "300";
/** Throttled calls have status 503 and these codes, now and then with status 400. */
const AGAIN = ["RequestLimitExceeded", "Throttling", "Unavailable", "InternalError"];

/** What this instance is, as its metadata (IMDSv2) tells. */
interface Instance {
  region: string;
  /** Its first network interface, `eni-…`. */
  network: string;
  credentials: Credentials;
  /** Private addresses of that interface. */
  addresses: () => Promise<string[]>;
}

/** `<Code>…</Code><Message>…</Message>` somewhere in it; of the metadata, the page's title. */
function xmlRefusal(text: string): Refusal {
  const inside = (tag: string) => new RegExp(`<${tag}>([^<]*)</${tag}>`, "i").exec(text)?.[1];
  return { code: inside("Code") ?? "", message: inside("Message") ?? inside("title") ?? text.slice(0, 200) };
}

async function lookAround({ metadata, patience }: Place): Promise<Instance> {
  const ask = (name: string, path: string, headers: Record<string, string>, method = "GET") =>
    call({ name, method, url: `${metadata}${path}`, headers: () => headers, refusal: xmlRefusal }, patience);
  const token = await ask(
    "the metadata token (IMDSv2)",
    "/latest/api/token",
    { "x-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS },
    "PUT",
  );
  const read = async (path: string): Promise<string> =>
    (
      await ask(`metadata ${path}`, `/latest/meta-data/${path}`, { "x-aws-ec2-metadata-token": token })
    ).trim();
  const role = await read("iam/security-credentials/").catch((error: Error) => {
    throw new Error(`this instance has no IAM role: attach one that may call EC2 (${error.message})`);
  });
  const keys = JSON.parse(await read(`iam/security-credentials/${role.split("\n")[0]}`));
  const card = `network/interfaces/macs/${await read("mac")}`;
  return {
    region: await read("placement/region"),
    network: await read(`${card}/interface-id`),
    credentials: { id: keys.AccessKeyId, secret: keys.SecretAccessKey, token: keys.Token },
    addresses: async () => (await read(`${card}/local-ipv4s`)).split("\n"),
  };
}

async function ec2(
  action: string,
  parameters: Record<string, string>,
  { region, credentials }: Instance,
  { api, patience }: Place,
): Promise<string> {
  const url = `${api.replace("REGION", region)}/`;
  const body = new URLSearchParams({ Action: action, Version: VERSION, ...parameters }).toString();
  const method = "POST";
  const plain = { "content-type": "application/x-www-form-urlencoded; charset=utf-8" };
  const request: Call = {
    ...{ name: action, permission: `ec2:${action}`, method, url, body, refusal: xmlRefusal, again: AGAIN },
    headers: () =>
      sign({ method, url, headers: plain, body }, { region, service: "ec2", credentials, at: new Date() }),
  };
  return await call(request, patience);
}

const isCode = (error: unknown, code: string): boolean => (error as { code?: unknown }).code === code;

/** See Provider. */
export const provider: Provider = {
  async takeAddress(address, place) {
    const instance = await lookAround(place);
    if ((await instance.addresses()).includes(address)) return;
    const parameters = {
      NetworkInterfaceId: instance.network,
      "PrivateIpAddress.1": address,
      AllowReassignment: "true",
    };
    await ec2("AssignPrivateIpAddresses", parameters, instance, place);
    // It is moved after the answer; the metadata tells when.
    await place.patience.until(`${address} has moved to ${instance.network}`, async () =>
      (await instance.addresses()).includes(address) ? true : null,
    );
  },

  async takeRoute(address, place) {
    const tables = place.route.split(/[\s,]+/).filter(Boolean);
    if (tables.length === 0)
      throw new Error("vars.route names no route table, such as rtb-0123456789abcdef0");
    const instance = await lookAround(place);
    for (const table of tables) {
      const parameters = {
        RouteTableId: table,
        DestinationCidrBlock: `${address}/32`,
        NetworkInterfaceId: instance.network,
      };
      try {
        await ec2("ReplaceRoute", parameters, instance, place);
      } catch (error) {
        if (!isCode(error, "InvalidRoute.NotFound")) throw error;
        await ec2("CreateRoute", parameters, instance, place);
      }
    }
  },
};
