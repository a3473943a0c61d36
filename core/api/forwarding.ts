/** Requests that mean other nodes: asked there, and put together here. */
import type { Cluster } from "../cluster/cluster.ts";
import type { CommandResult, StatusDocument } from "../daemon/engine.ts";
import { mergeLines } from "./merge_lines.ts";
import { API_PREFIX, requestNode, unreachable } from "./node_client.ts";
import { resultResponse } from "./result.ts";

/** The nodes meant. `all`: put the answers together, even of one. */
export interface ForwardTarget {
  cluster: Cluster;
  nodes: readonly string[];
  all: boolean;
}

/** Runs a request of this node itself. */
type Local = (request: Request) => Promise<Response>;

/** Sends the request to the nodes meant. With `all`, results come as `{ status, message, data: { N: result } }`, status documents and logs merged. */
export async function forward(
  target: ForwardTarget,
  request: Request,
  by: string,
  local: Local,
): Promise<Response> {
  const url = new URL(request.url);
  url.searchParams.delete("node");
  const path = url.pathname.slice(API_PREFIX.length);
  const text = request.method === "GET" ? undefined : await request.text();
  const body: unknown = text === undefined || text === "" ? undefined : parseOr(text);
  const ask = async (node: string): Promise<Response> => {
    if (node === target.cluster.node)
      return await local(
        new Request(url.href, {
          method: request.method,
          signal: request.signal,
          headers: { "x-holdfast-by": by },
          ...(text && { body: text }),
        }),
      );
    try {
      return await requestNode(target.cluster, node, request.method, path + url.search, body, {
        signal: request.signal,
        by,
      });
    } catch (error) {
      return resultResponse(unreachable(node, error));
    }
  };
  if (!target.all) return await ask(target.nodes[0]!);
  const answers = await Promise.all(target.nodes.map(async (node) => [node, await ask(node)] as const));
  if (path === "/log") return mergeLines(answers, url.searchParams.get("follow") === "true");
  const bodies = await Promise.all(
    answers.map(async ([node, response]) => [node, response.ok, await readJson(response)] as const),
  );
  return path === "/status" ? Response.json(mergeStatus(bodies)) : mergeResults(bodies);
}

function parseOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The node that it is for says what is wrong with it.
    return text;
  }
}

async function readJson(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    return { status: 1, message: `the answer is not JSON: ${String(error)}` };
  }
}

/** Each node's word about itself counts; where it has none, what the others know of it. */
function mergeStatus(bodies: readonly (readonly [string, boolean, unknown])[]): StatusDocument {
  const documents = bodies
    .filter(([, ok]) => ok)
    .map(([node, , body]) => [node, body as StatusDocument] as const);
  const merged: StatusDocument = { version: 1, cluster: documents[0]?.[1].cluster ?? "", modules: {} };
  for (const [asked, { modules }] of documents)
    for (const [name, { nodes, ...module }] of Object.entries(modules)) {
      merged.modules[name] ??= { ...module, nodes: {} };
      const known = merged.modules[name].nodes;
      for (const [node, status] of Object.entries(nodes))
        if (node === asked || !(node in known)) known[node] = status;
    }
  return merged;
}

/** The worst status counts: 3 (not reachable) before 1, 2, 4; but 2 says that nothing was changed, which is not so where a node has done it. */
function mergeResults(bodies: readonly (readonly [string, boolean, unknown])[]): Response {
  const results = bodies.map(([node, ok, body]): [string, CommandResult] => {
    const known = body as Partial<CommandResult> | null;
    return [
      node,
      typeof known?.message === "string" && known.status !== undefined
        ? (known as CommandResult)
        : { status: ok ? 0 : 1, message: "", data: body },
    ];
  });
  const order = [3, 1, 2, 4, 0] as const;
  const worst = order.find((one) => results.some(([, result]) => result.status === one)) ?? 0;
  const status = worst === 2 && results.some(([, result]) => result.status !== 2) ? 1 : worst;
  const message = results.map(([node, result]) => `${node}: ${result.message}`).join("\n");
  return resultResponse({ status, message, data: Object.fromEntries(results) });
}
