/** Where the API listens: a Unix socket for this machine's administrator, the cluster's port for members. */
import { chmodSync, existsSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import {
  AUTHORITY_PATH,
  admitNode,
  type Cluster,
  ClusterError,
  JOIN_PATH,
  type NodeServer,
  serveNodes,
} from "../cluster/cluster.ts";
import type { Api } from "./host.ts";
import { resultResponse } from "./result.ts";

/** How long a daemon that dies may keep its successor waiting, ms. */
const BURIAL_MS = 1500;
const MAX_LOCAL_BYTES = 256 << 20;

/** The API's socket under a node's var directory. */
export const apiSocket = (varDir: string): string => join(varDir, "run", "api.sock");

/**
 * `wait`, `verify` and followed logs are silent for as long as they like. By `server.timeout(request, 0)` a POST without a body would be
 * cut off after 10 s all the same. The types have it for TCP only.
 */
const PATIENT: object = { idleTimeout: 0 };

/** Listens on VAR/run/api.sock, mode 0600. Throws when another daemon answers there. */
export async function serveLocal(varDir: string, api: Api): Promise<{ close(): void }> {
  const path = apiSocket(varDir);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  chmodSync(dirname(path), 0o700);
  if (existsSync(path)) {
    // A killed daemon answers until the kernel has buried it, and the next one may be quicker than that.
    const patience = performance.now() + BURIAL_MS;
    while ((await answers(path)) && performance.now() < patience) await Bun.sleep(20);
    if (await answers(path)) throw new Error(`another daemon works with ${varDir}: it answers on ${path}`);
    unlinkSync(path);
  }
  const server = Bun.serve({
    unix: path,
    maxRequestBodySize: MAX_LOCAL_BYTES,
    ...PATIENT,
    fetch: (request) => api.handle(request, { kind: "local" }),
  });
  // The directory lets only its owner in, so there is no moment in which another user could connect.
  chmodSync(path, 0o600);
  return {
    close: () => {
      void server.stop(true);
      if (existsSync(path)) unlinkSync(path);
    },
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}

/** Listens for members, and for nodes that join, on the cluster's port of every lan. */
export function serveMembers(
  cluster: Cluster,
  api: Api,
  onTrouble: (address: string, error: Error) => void,
): NodeServer {
  return serveNodes(
    cluster,
    async (request, caller) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/probe" && request.method === "GET") return new Response(null, { status: 204 });
      if (pathname === AUTHORITY_PATH && request.method === "GET")
        return new Response(cluster.credentials.authority);
      if (pathname === JOIN_PATH && request.method === "POST") return await admit(cluster, request);
      if (caller.kind === "member") return await api.handle(request, caller);
      return Response.json({ status: 2, message: "there is nothing here" }, { status: 404 });
    },
    onTrouble,
  );
}

async function admit(cluster: Cluster, request: Request): Promise<Response> {
  try {
    return Response.json(await admitNode(cluster, parseOrNull(await request.text())));
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    return resultResponse({ status: 2, message: error.message });
  }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
