/**
 * The hooks that move an address or a route at a cloud provider, as a user gets them, against stand-ins of the providers' APIs on loopback: under
 * Holdfast, and the same under real Deno.
 */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { writeEditorFiles } from "../../modules/mod.ts";
import { TEMPLATES } from "../../templates/catalog.ts";
import { sign } from "../../templates/shared/aws/lib/sign.ts";
import { aws } from "../fixtures/cloud/aws.ts";
import { azure } from "../fixtures/cloud/azure.ts";
import { gcp } from "../fixtures/cloud/gcp.ts";
import type { Machine, StandIn } from "../fixtures/cloud/stand_in.ts";
import { binary, deno, noDeno, scratch, writeFiles } from "../fixtures/scratch.ts";

const work = scratch("cloud");

const ADDRESS = "10.0.0.100";
const OUTSIDE = "172.31.99.1";

/** Calls one hook, as the daemon would, and says how it failed. */
const DRIVER = `
const [hook = "", vars = "{}"] = Deno.args;
const { default: run } = await import(\`./hooks/\${hook}.ts\`);
try {
  await run({ module: "shop", vars: JSON.parse(vars), force: false, signal: AbortSignal.timeout(30_000) });
} catch (error) {
  console.log((error as Error).message);
  Deno.exit(1);
}
`;
/** Nothing of this machine is changed: what the hooks ask of ip(8) is written down. */
const IP =
  '#!/bin/sh\ncase "$*" in *"route show"*) echo "default via 10.0.0.1 dev ens5";; *) echo "$*" >> "$IP_RECORD";; esac\n';

let made = 0;

/** One provider's module in a folder, and the provider. */
class Cloud {
  readonly dir: string;
  readonly record: string;

  constructor(
    readonly provider: string,
    readonly standIn: StandIn,
    readonly route: string,
  ) {
    this.dir = join(work, `${provider}-${++made}`);
    this.record = join(this.dir, "ip.record");
    const template = TEMPLATES.find(({ name }) => name === `${provider}-mirror`)!;
    writeFiles(this.dir, { ...template.files, "drive.ts": DRIVER, "bin/ip": IP });
    chmodSync(join(this.dir, "bin/ip"), 0o755);
  }

  /** Runs a hook on one of the machines. */
  async run(
    machine: Machine,
    move: "address" | "route",
    vars: Record<string, string> = {},
    engine: "holdfast" | "deno" = "holdfast",
    hook = "start_prim",
  ): Promise<{ status: number; said: string }> {
    const { api, metadata } = this.standIn;
    const address = move === "address" ? ADDRESS : OUTSIDE;
    const all = {
      port: "80",
      move,
      address,
      route: this.route,
      patience: "20",
      api,
      metadata: metadata[machine],
      ...vars,
    };
    const argv = engine === "deno" ? [deno, "run", "-A", "drive.ts"] : [binary, "run", "drive.ts"];
    const child = Bun.spawn([...argv, hook, JSON.stringify(all)], {
      cwd: this.dir,
      stdout: "pipe",
      stderr: "pipe",
      env: {
        PATH: `${this.dir}/bin:/usr/bin:/bin`,
        HOME: work,
        IP_RECORD: this.record,
        DENO_NO_UPDATE_CHECK: "1",
      },
    });
    const [out, err, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, said: `${out}${err}` };
  }

  /** What the machine was told since this was last asked. */
  told(): string[] {
    const lines = existsSync(this.record) ? readFileSync(this.record, "utf8").trimEnd().split("\n") : [];
    writeFileSync(this.record, "");
    return lines.filter(Boolean);
  }
}

const CLOUDS = [
  {
    name: "aws",
    make: () => new Cloud("aws", aws(), "rtb-0a1b2c3d"),
    denied: "AssignPrivateIpAddresses",
    permission: /ec2:AssignPrivateIpAddresses/,
  },
  {
    name: "azure",
    make: () => new Cloud("azure", azure(), "table/shop"),
    denied: "put n1",
    permission: /Microsoft\.Network\/networkInterfaces\/write/,
  },
  {
    name: "gcp",
    make: () => new Cloud("gcp", gcp(), "shop"),
    denied: "instances.updateNetworkInterface",
    permission: /compute\.instances\.updateNetworkInterface/,
  },
];
const WRITES = /^(put |Assign|Replace|Create|instances\.update|routes\.(insert|delete))/;

async function address(t: Test, cloud: Cloud): Promise<void> {
  const { standIn } = cloud;
  const first = await cloud.run("n1", "address");
  t.equal(first.status, 0, first.said);
  t.equal(standIn.holder(ADDRESS), "n1");
  t.same(cloud.told(), [`address replace ${ADDRESS}/32 dev ens5`]);
  standIn.called();
  t.equal((await cloud.run("n1", "address")).status, 0);
  t.same(
    standIn.called().filter((name) => WRITES.test(name)),
    [],
    "what is so is not done again",
  );
  cloud.told();

  const second = await cloud.run("n2", "address", {}, "deno");
  t.equal(second.status, 0, `under Deno: ${second.said}`);
  t.equal(standIn.holder(ADDRESS), "n2", "taken from n1, which does nothing for it");
  t.same(cloud.told(), [`address replace ${ADDRESS}/32 dev ens5`], "and the same command");

  standIn.trouble.throttled = 2;
  const back = await cloud.run("n1", "address");
  t.equal(back.status, 0, `through throttling: ${back.said}`);
  t.match(back.said, /was refused .*; again in \d+ ms/);
  t.equal(standIn.holder(ADDRESS), "n1");

  t.equal((await cloud.run("n1", "address", {}, "holdfast", "stop_prim")).status, 0);
  t.match(cloud.told().at(-1), `address delete ${ADDRESS}/32 dev ens5`);
}

async function failures(t: Test, cloud: Cloud, denied: string, permission: RegExp): Promise<void> {
  const { standIn } = cloud;
  t.equal((await cloud.run("n2", "address")).status, 0);
  cloud.told();
  standIn.trouble.denied = denied;
  const refused = await cloud.run("n1", "address");
  standIn.trouble.denied = "";
  t.equal(refused.status, 1);
  t.match(refused.said, /was refused \(403 /);
  t.match(refused.said, permission, "the permission that is needed");

  const outside = await cloud.run("n1", "address", { address: "10.9.9.9" });
  t.equal(outside.status, 1);
  t.match(outside.said, /10\.9\.9\.9|subnet/, "the provider's own words");

  standIn.trouble.silent = true;
  const silent = await cloud.run("n1", "address", { patience: "1" });
  standIn.trouble.silent = false;
  t.equal(silent.status, 1);
  t.match(silent.said, /no answer from 127\.0\.0\.1/);
  const nowhere = await cloud.run("n1", "address", { metadata: "http://127.0.0.1:1", patience: "1" });
  t.match(nowhere.said, /no answer from 127\.0\.0\.1:1/, "no metadata service");
  t.same(cloud.told(), [], "the machine does not call an address its own that it did not get");
  t.not(standIn.holder(ADDRESS), "n1");
  const other = await cloud.run("n2", "address");
  t.equal(other.status, 0, `the other node gets it: ${other.said}`);
  t.equal(standIn.holder(ADDRESS), "n2");
}

async function route(t: Test, cloud: Cloud): Promise<void> {
  const { standIn } = cloud;
  t.equal(standIn.nextHop(), null);
  const first = await cloud.run("n1", "route");
  t.equal(first.status, 0, first.said);
  t.equal(standIn.nextHop(), "n1", "made where there was none");
  t.same(cloud.told(), [`address replace ${OUTSIDE}/32 dev lo`]);
  const second = await cloud.run("n2", "route", {}, "deno");
  t.equal(second.status, 0, `under Deno: ${second.said}`);
  t.equal(standIn.nextHop(), "n2");
  t.equal((await cloud.run("n2", "route")).status, 0, "again");
  t.equal(standIn.nextHop(), "n2");
  const none = await cloud.run("n1", "route", { route: "" });
  t.equal(none.status, 1);
  t.match(none.said, /vars\.route names no route/);
}

async function race(t: Test, cloud: Cloud): Promise<void> {
  t.equal((await cloud.run("n2", "address")).status, 0);
  cloud.standIn.trouble.races = 1;
  const { status, said } = await cloud.run("n1", "address");
  t.equal(status, 0, `somebody else changed the same thing: ${said}`);
  t.equal(cloud.standIn.holder(ADDRESS), "n1");
}

// They wait for the provider most of the time: all at once, each with a provider of its own.
t.jobs = CLOUDS.length;
for (const { name, make, denied, permission } of CLOUDS)
  t.test(
    `${name}: an address, a route, and what goes wrong`,
    { skip: noDeno, buffered: true, timeout: 90_000 },
    async (t) => {
      const newCloud = async (): Promise<Cloud> => {
        const cloud = make();
        t.teardown(() => cloud.standIn.close());
        await writeEditorFiles(cloud.dir);
        return cloud;
      };
      const parts = [
        address(t, await newCloud()),
        failures(t, await newCloud(), denied, permission),
        route(t, await newCloud()),
      ];
      // What EC2 hands over in one step cannot be changed in between.
      if (name !== "aws") parts.push(race(t, await newCloud()));
      await Promise.all(parts);
    },
  );

t.test("Signature Version 4: the examples of its documentation", async (t) => {
  const credentials = { id: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token: "" };
  const at = new Date("2015-08-30T12:36:00Z");
  const signature = async (url: string, method: string, service: string, headers: Record<string, string>) =>
    (await sign({ method, url, headers, body: "" }, { region: "us-east-1", service, credentials, at }))[
      "authorization"
    ]!.split("Signature=")[1];
  t.equal(
    await signature("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "GET", "iam", {
      "content-type": "application/x-www-form-urlencoded; charset=utf-8",
    }),
    "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
  );
  t.equal(
    await signature("https://example.amazonaws.com/", "POST", "service", {}),
    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
  );
});
