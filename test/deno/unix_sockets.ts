import { attempt, bytes, text } from "./lib/attempt.ts";

const listener = Deno.listen({ transport: "unix", path: "./socket" });
await attempt("addr", () => listener.addr);
await attempt("a file", () => Deno.statSync("socket").isSocket);
await attempt("in use", () => Deno.listen({ transport: "unix", path: "./socket" }));
const [server, client] = await Promise.all([listener.accept(), Deno.connect({ transport: "unix", path: "./socket" })]);
await attempt("addresses", () => [client.localAddr, client.remoteAddr, server.localAddr, server.remoteAddr]);
await attempt("kind", () => client);
const into = new Uint8Array(20);
await client.write(bytes("over a file"));
await attempt("read", async () => text(into.subarray(0, (await server.read(into)) ?? 0)));
client.close();
await attempt("at the end", () => server.read(into));
server.close();
listener.close();
await attempt("the file is gone", () => Deno.statSync("socket"));
await attempt("nobody", () => Deno.connect({ transport: "unix", path: "./none" }));
