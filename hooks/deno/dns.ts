/** `Deno.resolveDns`. */
import { Resolver } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { isIP, isIPv4 } from "node:net";
import { errors } from "./errors.ts";
import { bare } from "./file_info.ts";

interface Options {
  nameServer?: { ipAddr: string; port?: number };
  signal?: AbortSignal;
}

const dotted = (name: string): string => (name.endsWith(".") ? name : `${name}.`);

/** Each record type: the question, and its answers in Deno's shapes. Names end in a dot there. */
const QUESTIONS: Readonly<Record<string, (resolver: Resolver, name: string) => Promise<unknown[]>>> = {
  A: (resolver, name) => resolver.resolve4(name),
  AAAA: (resolver, name) => resolver.resolve6(name),
  CNAME: async (resolver, name) => (await resolver.resolveCname(name)).map(dotted),
  NS: async (resolver, name) => (await resolver.resolveNs(name)).map(dotted),
  PTR: async (resolver, name) => (await resolver.resolvePtr(name)).map(dotted),
  TXT: (resolver, name) => resolver.resolveTxt(name),
  MX: async (resolver, name) =>
    (await resolver.resolveMx(name)).map(({ priority, exchange }) =>
      bare({ preference: priority, exchange: dotted(exchange) }),
    ),
  SRV: async (resolver, name) =>
    (await resolver.resolveSrv(name)).map(({ priority, weight, port, name: target }) =>
      bare({ priority, weight, port, target: dotted(target) }),
    ),
  SOA: async (resolver, name) => {
    const { nsname, hostmaster, serial, refresh, retry, expire, minttl } = await resolver.resolveSoa(name);
    const names = { mname: dotted(nsname), rname: dotted(hostmaster) };
    return [bare({ ...names, serial, refresh, retry, expire, minimum: minttl })];
  },
};

/** What /etc/hosts says about a name. */
function fromHosts(name: string, family: 4 | 6): string[] {
  let text: string;
  try {
    text = readFileSync("/etc/hosts", "utf8");
  } catch {
    return [];
  }
  return text
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim().split(/\s+/))
    .filter(([address = "", ...names]) => names.includes(name) && isIP(address) === family)
    .map(([address]) => address!);
}

/** Asks the system's name servers, or the one that is given. Throws NotFound when there is no such record. */
export async function resolveDns(name: string, type: string, options: Options = {}): Promise<unknown[]> {
  const question = QUESTIONS[type];
  if (!question) {
    const known = Object.keys(QUESTIONS).join(", ");
    throw new errors.NotSupported(`records of type ${type} are not supported here: ${known}`);
  }
  options.signal?.throwIfAborted();
  const { nameServer } = options;
  if (nameServer === undefined && (type === "A" || type === "AAAA")) {
    const known = fromHosts(name, type === "A" ? 4 : 6);
    if (known.length > 0) return known;
  }
  const resolver = new Resolver();
  if (nameServer) {
    const { ipAddr, port = 53 } = nameServer;
    resolver.setServers([isIPv4(ipAddr) ? `${ipAddr}:${port}` : `[${ipAddr}]:${port}`]);
  }
  const abort = () => resolver.cancel();
  options.signal?.addEventListener("abort", abort, { once: true });
  try {
    return await question(resolver, name);
  } catch (error) {
    options.signal?.throwIfAborted();
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (/ENOTFOUND|ENODATA|ENONAME/.test(code))
      throw new errors.NotFound(`no ${type} records found for ${dotted(name)}`, { cause: error });
    if (code === "ETIMEOUT" || code === "DNS_ETIMEOUT")
      throw new errors.TimedOut("request timed out", { cause: error });
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", abort);
  }
}
