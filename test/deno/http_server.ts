import { attempt } from "./lib/attempt.ts";

const quiet = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
const at = (server: Deno.HttpServer<Deno.NetAddr>, path = "/") => `http://127.0.0.1:${server.addr.port}${path}`;
const server = Deno.serve({ ...quiet, onListen: ({ hostname, transport }) => console.log("listening", hostname, transport) }, async (request, info) => {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname === "/echo") return new Response(request.body, { status: 201, headers: { "x-seen": request.headers.get("x-given") ?? "" } });
  if (pathname === "/json") return Response.json({ method: request.method, q: searchParams.get("q"), from: info.remoteAddr.hostname });
  if (pathname === "/stream") return new Response(ReadableStream.from(["a", "b", "c"]).pipeThrough(new TextEncoderStream()));
  if (pathname === "/empty") return new Response(null, { status: 204 });
  return new Response("not here", { status: 404 });
});
await attempt("echo", async () => {
  const response = await fetch(at(server, "/echo"), { method: "POST", body: "body", headers: { "x-given": "yes" } });
  return [response.status, response.headers.get("x-seen"), await response.text()];
});
await attempt("json", async () => await (await fetch(at(server, "/json?q=a%20b"))).json());
await attempt("stream", async () => await (await fetch(at(server, "/stream"))).text());
await attempt("empty", async () => (await fetch(at(server, "/empty"))).status);
await attempt("not found", async () => {
  const response = await fetch(at(server, "/x"));
  return [response.status, response.ok, response.headers.has("content-type"), await response.text()];
});
await attempt("in use", () => Deno.serve({ ...quiet, port: server.addr.port }, () => new Response()));
server.unref();
server.ref();
await attempt("shutdown", () => server.shutdown());
await attempt("finished", () => server.finished);
await attempt("gone", async () => await Deno.connect({ port: server.addr.port }));

const failing = Deno.serve({ ...quiet, onError: (error) => new Response((error as Error).message, { status: 503 }) }, () => {
  throw new Error("broken");
});
await attempt("onError", async () => {
  const response = await fetch(at(failing));
  return [response.status, await response.text()];
});
await failing.shutdown();
const wrong = Deno.serve({ ...quiet }, () => 5 as unknown as Response);
await attempt("no response", async () => {
  const response = await fetch(at(wrong));
  return [response.status, await response.text()];
});
await wrong.shutdown();
const controller = new AbortController();
const aborted = Deno.serve({ ...quiet, signal: controller.signal }, () => new Response("x"));
controller.abort();
await attempt("aborted", () => aborted.finished);
{
  await using other = Deno.serve({ ...quiet, handler: () => new Response("by options") });
  await attempt("handler", async () => await (await fetch(at(other))).text());
}
const unix = Deno.serve({ transport: "unix", path: "./http", onListen: (address) => console.log(address) }, (_, { remoteAddr }) => Response.json(remoteAddr));
await attempt("unix", async () => {
  using conn = await Deno.connect({ transport: "unix", path: "./http" });
  await conn.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  return (await new Response(conn.readable).text()).split("\r\n")[0];
});
await unix.shutdown();
await attempt("its file", () => Deno.statSync("http"));
await attempt("no handler", () => Deno.serve({ port: 0 } as unknown as Deno.ServeHandler));
