// The suite puts key.pem and cert.pem (for localhost) beside the script's working files.
import { attempt, bytes, text } from "./lib/attempt.ts";

const key = Deno.readTextFileSync("key.pem");
const cert = Deno.readTextFileSync("cert.pem");
const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, key, cert, alpnProtocols: ["h2", "http/1.1"] });
const { port } = listener.addr;
await attempt("addr", () => [listener.addr.transport, listener.addr.hostname]);
const [server, client] = await Promise.all([
  listener.accept(),
  Deno.connectTls({ hostname: "localhost", port, caCerts: [cert], alpnProtocols: ["http/1.1"] }),
]);
await attempt("handshake", async () => [await client.handshake(), await server.handshake()]);
const into = new Uint8Array(20);
await client.write(bytes("secret"));
await attempt("read", async () => text(into.subarray(0, (await server.read(into)) ?? 0)));
await server.write(bytes("answer"));
await attempt("back", async () => text(into.subarray(0, (await client.read(into)) ?? 0)));
client.close();
await attempt("at the end", () => server.read(into));
server.close();
listener.close();
const https = Deno.serve({ hostname: "127.0.0.1", port: 0, key, cert, onListen: () => {} }, () => new Response("by TLS"));
await attempt("https", async () => {
  using conn = await Deno.connectTls({ hostname: "localhost", port: https.addr.port, caCerts: [cert] });
  await conn.write(bytes("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  return (await new Response(conn.readable).text()).split("\r\n\r\n")[1];
});
await https.shutdown();
await attempt("without a key", () => Deno.listenTls({ port: 0 } as unknown as Deno.ListenTlsOptions & Deno.TlsCertifiedKeyPem) && "made");
await attempt("refused", () => Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] }));
