// resolveDns, asked of a small server of our own and of this machine's hosts.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { attempt, bytes } from "./lib/attempt.ts";

const encoded = (name: string): number[] => [...name.split(".").flatMap((label) => [label.length, ...bytes(label)]), 0];
const short = (value: number) => [value >> 8, value & 255];
const long = (value: number) => [...short(value >>> 16), ...short(value & 65_535)];
const TYPES: Record<number, string> = { 1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV" };
const RECORDS: Record<string, number[][]> = {
  "a.test A": [[192, 0, 2, 1], [192, 0, 2, 2]],
  "a.test AAAA": [[0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 1]],
  "a.test MX": [[...short(10), ...encoded("mail.test")]],
  "a.test TXT": [[3, ...bytes("one")], [3, ...bytes("two")]],
  "a.test NS": [encoded("ns.test")],
  "alias.test CNAME": [encoded("a.test")],
  "_http._tcp.a.test SRV": [[...short(1), ...short(2), ...short(8080), ...encoded("web.test")]],
  "1.2.0.192.in-addr.arpa PTR": [encoded("a.test")],
  "a.test SOA": [[...encoded("ns.test"), ...encoded("admin.test"), ...long(2026), ...long(1), ...long(2), ...long(3), ...long(4)]],
};
const server = createSocket("udp4");
server.on("message", (query: Uint8Array, { port, address }) => {
  let end = 12;
  const labels: string[] = [];
  for (; query[end] !== 0; end += query[end]! + 1) labels.push(new TextDecoder().decode(query.subarray(end + 1, end + 1 + query[end]!)));
  const question = query.subarray(12, end + 5);
  const type = TYPES[query[end + 1]! * 256 + query[end + 2]!];
  const answers = RECORDS[`${labels.join(".").toLowerCase()} ${type}`] ?? [];
  const flags = answers.length > 0 ? [0x81, 0x80] : [0x81, 0x83];
  const records = answers.flatMap((data) => [0xc0, 12, ...query.subarray(end + 1, end + 5), ...long(60), ...short(data.length), ...data]);
  server.send(new Uint8Array([...query.subarray(0, 2), ...flags, 0, 1, ...short(answers.length), 0, 0, 0, 0, ...question, ...records]), port, address);
});
server.bind(0, "127.0.0.1");
await once(server, "listening");
const options = { nameServer: { ipAddr: "127.0.0.1", port: server.address().port } };
for (const key of Object.keys(RECORDS)) {
  const [name, type] = key.split(" ");
  await attempt(key, () => Deno.resolveDns(name!, type as "A", options));
}
for (const type of ["A", "MX"] as const) {
  await attempt(`none ${type}`, async () => {
    try {
      return await Deno.resolveDns("none.test", type, options);
    } catch (error) {
      return error instanceof Deno.errors.NotFound;
    }
  });
}
await attempt("localhost", () => Deno.resolveDns("localhost", "A"));
server.close();
