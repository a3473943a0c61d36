/**
 * `holdfast witness`: one process that is a witness for many clusters. It listens with mutual TLS, answers each cluster from that cluster's own records, and
 * bounds what any of them can ask.
 */
import { networkInterfaces } from "node:os";
import * as v from "valibot";
import { ClusterError } from "../cluster/credential_files.ts";
import { serveTls, type TlsListener } from "../cluster/tls_server.ts";
import { AUTHORITY_PATH, MAX_JOIN_BYTES } from "../cluster/token_call.ts";
import { sharedClock } from "../platform/shared_clock.ts";
import { Allowance } from "./allowance.ts";
import { type EnrolledCluster, Enrolment, type WitnessPlace, witnessIdentity } from "./enrolment.ts";
import { WitnessRefusal } from "./keeper.ts";
import {
  ENROL_PATH,
  MAX_REQUEST_BYTES,
  requestSchemas,
  WITNESS_PATH,
  type WitnessAnswer,
} from "./protocol.ts";

const OPEN_PATHS: ReadonlySet<string> = new Set([AUTHORITY_PATH, ENROL_PATH, "/probe"]);

/** Who asks. */
interface Asker {
  /** The cluster's, in the enrolment. */
  id: string;
  node: string;
}

/** This machine's addresses, but those that only it can reach. */
export function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address, scopeid }) => !internal && !scopeid && !address.startsWith("169.254."))
    .map(({ address }) => address);
}

/** How a witness runs. */
export interface WitnessServiceOptions extends WitnessPlace {
  varDir: string;
  /** Of this program. */
  version: string;
  /** What is worth a line in the log. */
  tell(text: string): void;
}

/** Starts one. Throws when what is on disk cannot be trusted. */
export async function serveWitness(options: WitnessServiceOptions): Promise<TlsListener> {
  const { varDir, addresses, port, tell } = options;
  const identity = await witnessIdentity(varDir);
  const enrolment = new Enrolment(varDir, identity, sharedClock);
  const allowances = new Map<string, Allowance>();
  const allowanceOf = (id: string): Allowance => {
    const known = allowances.get(id) ?? new Allowance(sharedClock);
    allowances.set(id, known);
    return known;
  };
  const handler = async (request: Request, asker: Asker | null): Promise<Response> => {
    const { pathname } = new URL(request.url);
    if (pathname === "/probe") return new Response(null, { status: 204 });
    if (pathname === AUTHORITY_PATH) return new Response(identity.authority);
    if (pathname === ENROL_PATH && request.method === "POST") {
      const { cluster } = enrolment.enrol(parseOrNull(await request.text()));
      tell(`cluster ${cluster} enrolled`);
      return Response.json({ cluster });
    }
    const cluster = asker === null ? null : enrolment.find(asker.id);
    if (asker === null || cluster === null) return refused(401, "this witness does not serve your cluster");
    if (!allowanceOf(asker.id).take()) return refused(429, "too many requests of this cluster");
    if (pathname === `${WITNESS_PATH}self`)
      return Response.json({
        cluster: cluster.name,
        version: options.version,
        modules: cluster.keeper.all(),
      });
    if (request.method !== "POST") return refused(404, "there is nothing here");
    if (pathname === `${WITNESS_PATH}leave`) {
      enrolment.leave(asker.id);
      tell(`cluster ${cluster.name} left (${asker.node} asked for it): its records are gone`);
      return Response.json({});
    }
    const kind = pathname.slice(WITNESS_PATH.length);
    if (!pathname.startsWith(WITNESS_PATH) || !Object.hasOwn(requestSchemas, kind))
      return refused(404, "there is nothing here");
    const body = parseOrNull(await request.text());
    return Response.json(await answer(cluster, asker.node, kind as keyof WitnessAnswer, body));
  };
  return serveTls<Asker>({
    addresses,
    port,
    certificate: identity.certificate,
    key: identity.key,
    recognise: (socket) => {
      const { raw } = socket.getPeerCertificate() as { raw?: Buffer };
      return raw === undefined ? null : enrolment.recognise(raw);
    },
    openPaths: OPEN_PATHS,
    limits: { stranger: MAX_JOIN_BYTES, known: MAX_REQUEST_BYTES },
    handler: async (request, asker) => {
      try {
        return await handler(request, asker);
      } catch (error) {
        if (error instanceof ClusterError || error instanceof WitnessRefusal)
          return refused(400, error.message);
        tell(`a request failed: ${error instanceof Error ? error.message : String(error)}`);
        return refused(500, "the witness cannot answer that: see its log");
      }
    },
    onTrouble: onceEach(addresses, port, tell),
  });
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there (another witness?)",
  EADDRNOTAVAIL: "this machine does not have that address now",
};

/** It is tried again every second: for each address, only another trouble is news. */
function onceEach(
  addresses: readonly string[],
  port: number,
  tell: (text: string) => void,
): (address: string, error: Error) => void {
  const told = new Map(addresses.map((address) => [address, ""]));
  return (address, error) => {
    if (told.get(address) === error.message) return;
    told.set(address, error.message);
    const why = WHY[(error as NodeJS.ErrnoException).code ?? ""] ?? error.message;
    tell(`nobody reaches this witness at ${address}, TCP port ${port}: ${why}; tried again every second`);
  };
}

async function answer(
  { keeper }: EnrolledCluster,
  node: string,
  kind: keyof WitnessAnswer,
  body: unknown,
): Promise<WitnessAnswer[keyof WitnessAnswer]> {
  switch (kind) {
    case "renew":
      return await keeper.renew(node, checked(requestSchemas.renew, body));
    case "sole":
      return await keeper.recordSole(node, checked(requestSchemas.sole, body));
    case "read":
      return await keeper.read(checked(requestSchemas.read, body));
    case "release":
      return await keeper.release(node, checked(requestSchemas.release, body));
  }
}

function checked<const Schema extends v.GenericSchema>(schema: Schema, body: unknown): v.InferOutput<Schema> {
  const found = v.safeParse(schema, body);
  if (found.success) return found.output;
  const [issue] = found.issues;
  throw new WitnessRefusal(`${v.getDotPath(issue) ?? "request"}: ${issue.message}`);
}

const refused = (status: number, message: string): Response =>
  Response.json({ status: 2, message }, { status });

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
