/** HTTPS on the cluster's port: TLS with the node's certificate; a member is who shows one of the cluster's authority, for a name of cluster.yaml. */
import type { TLSSocket } from "node:tls";
import type { Cluster } from "./identity.ts";
import { AUTHORITY_PATH, JOIN_PATH, MAX_JOIN_BYTES } from "./joining.ts";
import { serveTls, type TlsListener } from "./tls_server.ts";

/** Who calls: a member by its certificate, or nobody known: a node that wants to join is one. */
export type Caller = { kind: "member"; node: string } | { kind: "stranger" };
/** Answers one request. */
export type Handler = (request: Request, caller: Caller) => Promise<Response>;

/** Paths that strangers may call. */
const OPEN_PATHS: ReadonlySet<string> = new Set([AUTHORITY_PATH, JOIN_PATH, "/probe"]);
/** A module's files travel in one request. */
const MAX_MEMBER_BYTES = 256 << 20;

/** The listening server of one node. */
export type NodeServer = TlsListener;

/**
 * Listens on the node's address of every lan that can be bound now; `onTrouble` hears of the others, which are tried again.
 */
export function serveNodes(
  cluster: Cluster,
  handler: Handler,
  onTrouble: (address: string, error: Error) => void,
): NodeServer {
  const members = new Set(Object.keys(cluster.nodes));
  const own = cluster.nodes[cluster.node]!;
  const { authority, certificate, key } = cluster.credentials;
  return serveTls<string>({
    addresses: Object.values(own.addresses).map((lan) => lan.bind),
    port: cluster.port,
    certificate,
    key,
    authority,
    recognise: (socket) => memberOf(socket, members),
    openPaths: OPEN_PATHS,
    limits: { stranger: MAX_JOIN_BYTES, known: MAX_MEMBER_BYTES },
    handler: (request, node) =>
      handler(request, node === null ? { kind: "stranger" } : { kind: "member", node }),
    onTrouble,
  });
}

/** `authorized` is the TLS library's word that the certificate chains to our authority; membership is cluster.yaml's. */
function memberOf(socket: TLSSocket, members: ReadonlySet<string>): string | null {
  if (!socket.authorized) return null;
  const { subject }: { subject?: { CN?: unknown } } = socket.getPeerCertificate();
  const name = subject?.CN;
  return typeof name === "string" && members.has(name) ? name : null;
}
