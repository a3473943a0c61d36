/**
 * The node over HTTP: every operation of the engine and of the cluster, as JSON.
 *
 * Callers are the local administrator (Unix socket) and other members (mutual TLS); both may do everything that is here,
 * but only the local one decides who is a member. `?node=N` and `?node=all` are answered by asking the nodes meant.
 */
import { Hono } from "hono";
import * as v from "valibot";
import {
  type Cluster,
  ClusterError,
  ConfigError,
  checkClusterChange,
  createCluster,
  createToken,
  JoinRefused,
  joinCluster,
} from "../cluster/cluster.ts";
import type { CommandResult, Engine, LogLine, StatusDocument } from "../daemon/engine.ts";
import { applyClusterYaml, runningMirrors, settleBody, yamlBody } from "./cluster_apply.ts";
import { clusterState } from "./cluster_state.ts";
import { type ForwardTarget, forward } from "./forwarding.ts";
import type { Api, ApiCaller, ApiHost, Bindings, Ctx } from "./host.ts";
import { mergeLines } from "./merge_lines.ts";
import { API_PREFIX } from "./node_client.ts";
import { parse, Refusal, readBody, resultResponse } from "./result.ts";
import { secretRoutes } from "./secret_routes.ts";

const states = v.picklist(["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"]);
const moduleName = v.pipe(v.string(), v.regex(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/, "not a module's name"));
const commandBody = v.strictObject({
  command: v.picklist(["prim", "second", "start", "stop", "restart", "stopstart", "swap", "forcestop"]),
  full: v.exactOptional(v.boolean()),
  force: v.exactOptional(v.boolean()),
  part: v.exactOptional(v.pipe(v.string(), v.maxLength(80))),
  everywhere: v.exactOptional(v.boolean()),
});
const waitBody = v.strictObject({
  states: v.pipe(v.array(states), v.minLength(1)),
  timeoutMs: v.pipe(v.number(), v.minValue(0), v.maxValue(86_400_000)),
});
const commit = v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/, "not a revision"));
const offerBody = v.object({
  commit,
  pack: v.nullable(v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]*={0,2}$/, "not base64"))),
  number: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(32)),
  dryRun: v.boolean(),
});
const applyBody = v.strictObject({ commit, dryRun: v.optional(v.boolean(), false) });
const resourceName = v.pipe(v.string(), v.maxLength(80));
const resourceBody = v.strictObject({ resource: resourceName, state: v.picklist(["up", "down"]) });
const checkerBody = v.strictObject({ resource: v.nullable(resourceName), on: v.boolean() });
const logQuery = v.object({
  module: v.optional(moduleName),
  lines: v.optional(v.pipe(v.string(), v.digits(), v.transform(Number), v.maxValue(1_000_000)), "100"),
  follow: v.optional(v.picklist(["true", "false"]), "false"),
});
const nodeName = v.pipe(v.string(), v.maxLength(32));
const createBody = v.strictObject({
  yaml: v.string(),
  node: nodeName,
  file: v.optional(v.string(), "cluster.yaml"),
});
const applyYamlBody = v.strictObject({ yaml: v.string(), file: v.optional(v.string(), "cluster.yaml") });
const joinBody = v.strictObject({ token: v.pipe(v.string(), v.maxLength(8192)), node: nodeName });
const tokenBody = v.strictObject({
  lifeMs: v.exactOptional(v.pipe(v.number(), v.minValue(1000), v.maxValue(7 * 86_400_000))),
});

/** Who it was, for the log: a member says for whom it asks. */
function byOf(c: Ctx): string {
  const said = (c.req.header("x-holdfast-by") ?? "").replace(/[^\w.@ -]/g, "").slice(0, 64);
  const { caller } = c.env;
  if (caller.kind === "member") return said === "" ? caller.node : `${said} (from ${caller.node})`;
  return said === "" ? "local administrator" : said;
}

function onlyLocal(c: Ctx): void {
  if (c.env.caller.kind !== "local")
    throw new Refusal(2, "only the node's own administrator may do this: type it there");
}

/** Makes the API of a node. */
export function createApi(host: ApiHost): Api {
  const app = new Hono<Bindings>().basePath(API_PREFIX);
  const engine = (): Engine => {
    const present = host.engine();
    if (present === null)
      throw new Refusal(
        1,
        "this node belongs to no cluster yet: holdfast cluster create, or holdfast cluster join",
      );
    return present;
  };
  app.onError((error) => failure(error));
  app.notFound((c) =>
    c.json({ status: 2, message: `there is nothing at ${c.req.method} ${c.req.path}` }, 404),
  );
  app.use(async (c, next) => {
    const target = targetOf(c, host);
    if (target === null) return await next();
    return await forward(target, c.req.raw, byOf(c), (request) => handle(request, c.env.caller));
  });
  revisionRoutes(app, engine);
  moduleRoutes(app, engine);
  nodeRoutes(app, engine, host);
  clusterRoutes(app, host);
  secretRoutes(app, { secrets: () => engine().secrets, moduleName, byOf, onlyLocal });
  const handle = async (request: Request, caller: ApiCaller): Promise<Response> =>
    await app.fetch(request, { caller });
  return { handle };
}

/** Errors that people can do something about are answers; anything else is a fault of ours, and says so. */
function failure(error: Error): Response {
  if (error instanceof Refusal) return resultResponse({ status: error.status, message: error.message });
  if (error instanceof ConfigError)
    return resultResponse({ status: 2, message: error.message, data: { faults: error.faults } });
  if (error instanceof JoinRefused) return resultResponse({ status: 2, message: error.message });
  if (error instanceof ClusterError) return resultResponse({ status: 1, message: error.message });
  return resultResponse({ status: 1, message: `internal error: ${error.stack ?? error.message}` });
}

/** The nodes that `?node=` means; null when it is this node alone. */
function targetOf(c: Ctx, host: ApiHost): ForwardTarget | null {
  const cluster = host.cluster();
  const node = c.req.query("node");
  if (node === undefined) return null;
  if (cluster === null) throw new Refusal(1, "this node belongs to no cluster: there are no other nodes");
  if (node === cluster.node) return null;
  if (c.env.caller.kind !== "local") throw new Refusal(2, "a node answers other nodes for itself only");
  if (node === "all") return { cluster, nodes: nodesOf(c, host) ?? Object.keys(cluster.nodes), all: true };
  if (!Object.hasOwn(cluster.nodes, node))
    throw new Refusal(
      2,
      `cluster ${cluster.name} has no node ${node}: it has ${Object.keys(cluster.nodes).join(", ")}`,
    );
  return { cluster, nodes: [node], all: false };
}

/** Where a module lives that is asked something: `--all` means those nodes. Null: every node keeps it, or is asked for itself. */
function nodesOf(c: Ctx, host: ApiHost): string[] | null {
  const name = /\/modules\/([^/]+)\/./.exec(c.req.path)?.[1];
  const modules = host.engine()?.status().modules ?? {};
  return name !== undefined && Object.hasOwn(modules, name) ? Object.keys(modules[name]!.nodes) : null;
}

/** The module that the path names. */
const moduleOf = (c: Ctx): string => parse(moduleName, c.req.param("name"));

/** Which modules there are, and which revision of each: what comes, what is handed over, what goes. */
function revisionRoutes(app: Hono<Bindings>, engine: () => Engine): void {
  app.get("/modules", (c) => c.json(engine().modules()));
  app.post("/modules/:name/prepare", async (c) => {
    const { caller } = c.env;
    if (caller.kind !== "member") throw new Refusal(2, "only another node hands a revision over");
    const offer = await readBody(c.req.raw, offerBody);
    return resultResponse(await engine().prepareRevision(moduleOf(c), { ...offer, from: caller.node }));
  });
  for (const step of ["configure", "activate", "abandon"] as const)
    app.post(`/modules/:name/${step}`, async (c) => {
      const body = await readBody(c.req.raw, v.strictObject({ commit }));
      return resultResponse(await engine()[`${step}Revision`](moduleOf(c), body.commit));
    });
  app.post("/modules/:name/revision", async (c) => {
    const { haves } = await readBody(
      c.req.raw,
      v.strictObject({ haves: v.pipe(v.array(commit), v.maxLength(100)) }),
    );
    return resultResponse(await engine().giveRevision(moduleOf(c), haves));
  });
  app.delete("/modules/:name", async (c) => resultResponse(await engine().removeModule(moduleOf(c))));
  app.post("/modules/:name/apply", async (c) => {
    onlyLocal(c);
    const body = await readBody(c.req.raw, applyBody);
    const { dryRun } = body;
    return resultResponse(await engine().applyModule(moduleOf(c), body.commit, { dryRun, by: byOf(c) }));
  });
}

function moduleRoutes(app: Hono<Bindings>, engine: () => Engine): void {
  app.post("/modules/:name/command", async (c) => {
    const { command, ...options } = await readBody(c.req.raw, commandBody);
    return resultResponse(await engine().command(moduleOf(c), command, { ...options, by: byOf(c) }));
  });
  app.post("/modules/:name/wait", async (c) => {
    const { states, timeoutMs } = await readBody(c.req.raw, waitBody);
    return resultResponse(await engine().wait(moduleOf(c), states, timeoutMs));
  });
  app.post("/modules/:name/verify", async (c) => resultResponse(await engine().verify(moduleOf(c))));
  app.post("/modules/:name/maintenance", async (c) => {
    const { on } = await readBody(c.req.raw, v.strictObject({ on: v.boolean() }));
    return resultResponse(await engine().maintenance(moduleOf(c), on, byOf(c)));
  });
  app.post("/modules/:name/boot", async (c) => {
    const { value } = await readBody(
      c.req.raw,
      v.strictObject({ value: v.picklist(["always", "never", "auto"]) }),
    );
    return resultResponse(await engine().boot(moduleOf(c), value));
  });
  app.get("/modules/:name/farm", async (c) => resultResponse(await engine().farm(moduleOf(c))));
  app.post("/modules/:name/drain", async (c) => {
    const { timeoutMs } = await readBody(
      c.req.raw,
      v.strictObject({ timeoutMs: waitBody.entries.timeoutMs }),
    );
    return resultResponse(await engine().drain(moduleOf(c), timeoutMs, byOf(c)));
  });
  app.get("/modules/:name/resources", async (c) =>
    resultResponse(await engine().resources(moduleOf(c), c.req.query("resource") ?? null)),
  );
  app.post("/modules/:name/resources", async (c) => {
    const { resource, state } = await readBody(c.req.raw, resourceBody);
    return resultResponse(await engine().setResource(moduleOf(c), resource, state));
  });
  app.post("/modules/:name/checker", async (c) => {
    const { resource, on } = await readBody(c.req.raw, checkerBody);
    return resultResponse(await engine().switchChecker(moduleOf(c), resource, on));
  });
  app.get("/modules/:name/explain", async (c) =>
    resultResponse(await engine().explain(moduleOf(c), c.req.query("at") ?? null)),
  );
  app.get("/modules/:name/told", async (c) =>
    resultResponse(await engine().told(moduleOf(c), c.req.query("at") ?? null)),
  );
}

function nodeRoutes(app: Hono<Bindings>, engine: () => Engine, host: ApiHost): void {
  app.get("/clock", (c) => c.json({ now: Date.now(), set: host.clockStep() }));
  app.get("/status", (c) => c.json(engine().status()));
  app.get("/snapshot", async (c) => {
    onlyLocal(c);
    return resultResponse(await engine().snapshot());
  });
  app.post("/shutdown", async (c) => resultResponse(await engine().shutdown(byOf(c))));
  app.get("/log", (c) => {
    const { module, lines, follow } = parse(logQuery, c.req.query());
    const gone = new AbortController();
    const signal = AbortSignal.any([c.req.raw.signal, gone.signal]);
    const isFollowed = follow === "true";
    const read = (name: string | null): Response => {
      const source = engine().log(name, { lines, follow: isFollowed, signal });
      if ("status" in source) return resultResponse(source);
      const told = module === undefined && name !== null ? named(source, name) : source;
      return new Response(jsonLines(told, gone), { headers: { "content-type": "application/x-ndjson" } });
    };
    if (module !== undefined) return read(module);
    const own = engine().modules();
    const logs = [["the node", read(null)] as const, ...own.map(({ name }) => [name, read(name)] as const)];
    return mergeLines(logs, isFollowed, lines);
  });
}

/** Lines that say whose log they are from. */
async function* named(source: AsyncIterable<LogLine>, module: string): AsyncGenerator<LogLine> {
  for await (const line of source) yield { ...line, module };
}

/** One JSON object a line. An engine that fails in the middle ends the stream with an error line. */
function jsonLines(source: AsyncIterable<LogLine>, gone: AbortController): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const iterator = source[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await iterator.next();
        if (next.done === true) controller.close();
        else controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`));
      } catch (error) {
        if (!gone.signal.aborted) {
          const text = error instanceof Error ? error.message : String(error);
          controller.enqueue(
            encoder.encode(
              `${JSON.stringify({ time: new Date().toISOString(), node: "", level: "error", text })}\n`,
            ),
          );
        }
        controller.close();
      }
    },
    async cancel() {
      gone.abort();
      await iterator.return?.();
    },
  });
}

function clusterRoutes(app: Hono<Bindings>, host: ApiHost): void {
  const member = (): Cluster => {
    const cluster = host.cluster();
    if (cluster === null)
      throw new Refusal(
        1,
        "this node belongs to no cluster yet: holdfast cluster create, or holdfast cluster join",
      );
    return cluster;
  };
  app.get("/cluster", (c) => {
    const { name, node, nodes, lans, port, heartbeat, witness, fingerprint, yaml } = member();
    return c.json({ name, node, nodes, lans, port, heartbeat, witness, fingerprint, yaml });
  });
  const status = (): StatusDocument =>
    host.engine()?.status() ?? { version: 1, cluster: member().name, modules: {} };
  app.post("/cluster/apply", async (c) => {
    onlyLocal(c);
    const { yaml, file } = await readBody(c.req.raw, applyYamlBody);
    return resultResponse(await applyClusterYaml(member(), status(), yaml, file, host));
  });
  app.post("/cluster/settle", async (c) => {
    if (c.env.caller.kind !== "member") throw new Refusal(2, "only another node says that all have it");
    const { yaml } = await readBody(c.req.raw, settleBody);
    const isOurs = await host.settleClusterYaml(yaml);
    return resultResponse({ status: isOurs ? 0 : 1, message: isOurs ? "" : "has another cluster.yaml" });
  });
  app.post("/cluster/yaml", async (c) => {
    if (c.env.caller.kind !== "member") throw new Refusal(2, "only another node hands a cluster.yaml over");
    const { yaml, dryRun } = await readBody(c.req.raw, yamlBody);
    checkClusterChange(member(), yaml, runningMirrors(status()));
    if (!dryRun) await host.takeClusterYaml(yaml);
    return resultResponse({ status: 0, message: "" });
  });
  app.get("/cluster/self", (c) => c.json({ node: member().node, heartbeats: host.heartbeats() }));
  app.get("/cluster/state", async (c) => c.json(await clusterState(member(), host.heartbeats())));
  app.post("/cluster/create", async (c) => {
    onlyLocal(c);
    const { yaml, node, file } = await readBody(c.req.raw, createBody);
    return resultResponse(await changed(host, await createCluster(host.varDir, yaml, node, file), "created"));
  });
  app.post("/cluster/join", async (c) => {
    onlyLocal(c);
    const { token, node } = await readBody(c.req.raw, joinBody);
    return resultResponse(await changed(host, await joinCluster(host.varDir, token, node), "joined"));
  });
  app.post("/cluster/token", async (c) => {
    onlyLocal(c);
    const { lifeMs } = await readBody(c.req.raw, tokenBody);
    const { token, expires } = createToken(member(), lifeMs);
    const data = { token, expires: new Date(expires).toISOString() };
    return resultResponse({
      status: 0,
      message: `the token lets one node join at ${member().node} until ${data.expires}`,
      data,
    });
  });
}

async function changed(host: ApiHost, cluster: Cluster, what: string): Promise<CommandResult> {
  await host.clusterChanged();
  const { name, node, fingerprint } = cluster;
  return {
    status: 0,
    message: `${what} cluster ${name}: this node is ${node}`,
    data: { cluster: name, node, fingerprint },
  };
}
