import { attempt, bytes, text } from "./lib/attempt.ts";

const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const { addr } = listener;
const { port } = addr;
await attempt("addr", () => [addr.transport, addr.hostname, typeof port]);
await attempt("in use", () => Deno.listen({ hostname: "127.0.0.1", port }));
await attempt("not ours", () => Deno.listen({ hostname: "192.0.2.1", port: 0 }));
await attempt("no such port", () => Deno.listen({ port: 70_000 }));
const accepting = listener.accept();
const client = await Deno.connect({ port });
const server = await accepting;
await attempt("addresses", () => [
  client.remoteAddr.port === port,
  server.localAddr.port === port,
  client.localAddr.port === server.remoteAddr.port,
  client.localAddr.hostname,
  Object.keys(server.remoteAddr),
]);
await attempt("kinds", () => [client, listener]);
await attempt("write", () => client.write(bytes("ping")));
const read = async (conn: Deno.Conn, size: number) => {
  const into = new Uint8Array(size);
  const count = await conn.read(into);
  return count === null ? null : text(into.subarray(0, count));
};
await attempt("read a part", () => read(server, 2));
await attempt("read the rest", () => read(server, 10));
client.setNoDelay();
client.setKeepAlive(true);
await server.write(bytes("pong"));
await attempt("back", () => read(client, 10));
await client.closeWrite();
await attempt("half closed", () => read(server, 10));
await attempt("the other half", async () => (await server.write(bytes("still")), await read(client, 10)));
await attempt("write after closeWrite", () => client.write(bytes("x")));
server.close();
await attempt("at the end", () => read(client, 10));
client.close();
await attempt("read closed", () => client.read(new Uint8Array(1)));
await attempt("write closed", () => client.write(bytes("x")));
await attempt("close closed", () => client.close());
await attempt("dispose closed", () => client[Symbol.dispose]());

// Streams, much data, several at once.
const serving = (async () => {
  let served = 0;
  for await (const conn of listener) {
    conn.readable.pipeTo(conn.writable);
    // This closes the listener too.
    if (++served === 3) break;
  }
})();
await attempt("much, three at once", async () =>
  await Promise.all([1, 2, 3].map(async (value) => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const sent = new Uint8Array(300_000).fill(value);
    const sending = (async () => {
      for (let at = 0; at < sent.length; ) at += await conn.write(sent.subarray(at));
      await conn.closeWrite();
    })();
    let length = 0;
    let good = true;
    const into = new Uint8Array(70_000);
    for (let count = await conn.read(into); count !== null; count = await conn.read(into)) {
      length += count;
      good &&= into.subarray(0, count).every((byte) => byte === value);
    }
    await sending;
    return [length, good];
  })));
await serving;
await attempt("closed by leaving the loop", () => listener.close());
const closing = Deno.listen({ hostname: "127.0.0.1", port: 0 });
const waiting = closing.accept();
closing.close();
await attempt("accept of what is closed", () => waiting);
await attempt("accept afterwards", () => closing.accept());
await attempt("close twice", () => closing.close());
await attempt("refused", () => Deno.connect({ port }));
await attempt("refused, named", () => Deno.connect({ hostname: "localhost", port }));
await attempt("no such name", () => Deno.connect({ hostname: "no.such.invalid", port: 1 }));
await attempt("a wrong port", () => Deno.connect({ port: 70_000 }));
{
  using everywhere = Deno.listen({ port: 0 });
  await attempt("everywhere", () => everywhere.addr.hostname);
  everywhere.unref();
  everywhere.ref();
  const [one, conn] = await Promise.all([everywhere.accept(), Deno.connect({ port: everywhere.addr.port })]);
  one.unref();
  one.ref();
  await attempt("reset", async () => (one.close(), await read(conn, 1)));
  conn.close();
}
await attempt("loop over what is closed", async () => {
  const short = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  setTimeout(() => short.close(), 20);
  for await (const _ of short) console.log("never");
  return "ended";
});
