/**
 * What load balancers ask, and what strangers try on the same port: nothing but one question is answered, and nobody keeps the others out.
 */
import { EventEmitter } from "node:events";
import { connect, type Socket } from "node:net";
import t, { type Test } from "tap";
import type { GuardianLink } from "../../core/daemon/guardian/link.ts";
import { ProbePorts } from "../../core/daemon/probe_ports.ts";
import { listenForProbes } from "../../core/probe/listener.ts";
import { MAX_REQUEST_BYTES, readQuestion } from "../../core/probe/question.ts";

const port = 20_000 + (process.pid % 10_000);

t.test("questions", async (t) => {
  const asked = (line: string) => readQuestion(`${line}\r\nHost: 10.0.0.1\r\n\r\n`);
  const db = { kind: "module", name: "db" };
  t.same(asked("GET /probe/db HTTP/1.1"), db);
  t.same(asked("GET /probe/db HTTP/1.0"), db);
  t.same(asked("GET /probe/db?from=lb HTTP/1.1"), db);
  t.same(asked("GET http://10.0.0.1:9503/probe/db HTTP/1.1"), db);
  t.same(asked("HEAD /probe/db HTTP/1.1"), db, "the answer has no content anyhow");
  t.same(readQuestion("GET /probe/db HTTP/1.0\n\n"), db, "a careless sender");
  const refusals: [string, number][] = [
    ["GET / HTTP/1.1", 404],
    ["GET /probe HTTP/1.1", 404],
    ["GET /probe/ HTTP/1.1", 404],
    ["GET /probe/db/ HTTP/1.1", 404],
    ["GET /probe/../api HTTP/1.1", 404],
    ["GET /probe/d%62 HTTP/1.1", 404],
    [`GET /probe/${"a".repeat(33)} HTTP/1.1`, 404],
    ["GET /api/status HTTP/1.1", 404],
    ["POST /probe/db HTTP/1.1", 405],
    ["DELETE /probe/db HTTP/1.1", 405],
    ["PRI * HTTP/2.0", 400],
    ["GET /probe/db HTTP/2", 400],
    ["GET  /probe/db HTTP/1.1", 400],
    ["GET /probe/db", 400],
    ["GET\t/probe/db\tHTTP/1.1", 400],
    [" GET /probe/db HTTP/1.1", 400],
    ["", 400],
  ];
  for (const [line, status] of refusals)
    t.same(asked(line), { kind: "refused", status }, JSON.stringify(line));
  t.same(readQuestion("GET /probe/db HT"), { kind: "unfinished" });
  t.same(readQuestion("GET /probe/db HTTP/1.1\r\nX: y\r\n"), { kind: "unfinished" });
  t.same(readQuestion("\x16\x03\x01\x02\x00\x01"), { kind: "refused", status: 400 }, "a TLS handshake");
  t.same(readQuestion("GET /".padEnd(MAX_REQUEST_BYTES, "a")), { kind: "refused", status: 431 });
  t.same(readQuestion(`GET /probe/db HTTP/1.1\r\nX: ${"y".repeat(9000)}\r\n\r\n`), {
    kind: "refused",
    status: 431,
  });
});

/** What came back until the other side ended it. */
function answerTo(text: string, host = "127.0.0.1"): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect({ host, port }, () => socket.write(text));
    socket.setEncoding("latin1").on("data", (chunk: string) => (heard += chunk));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(heard));
  });
}

function listen(t: Test, serves: (name: string) => boolean): string[] {
  const asked: string[] = [];
  const listener = listenForProbes(port, (name, answer) => {
    asked.push(name);
    answer(serves(name));
  });
  t.teardown(() => listener.close());
  return asked;
}

const QUESTION = "GET /probe/db HTTP/1.1\r\nHost: x\r\n\r\n";
const NOT_SERVED =
  "HTTP/1.1 503 Service Unavailable\r\nCache-Control: no-store\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

t.test("yes, no, and nothing else", async (t) => {
  const asked = listen(t, (name) => name === "db");
  t.match(await answerTo(QUESTION), /^HTTP\/1\.1 200 OK\r\n/);
  t.match(await answerTo(QUESTION, "::1"), /^HTTP\/1\.1 200 OK\r\n/, "over IPv6");
  t.match(await answerTo(QUESTION.replace("GET", "HEAD")), /^HTTP\/1\.1 200 OK\r\n/);
  t.equal(await answerTo(QUESTION.replace("db", "web")), NOT_SERVED);
  t.same(asked, ["db", "db", "db", "web"]);
  t.match(await answerTo(`${QUESTION}${QUESTION}`), /^HTTP\/1\.1 200 OK\r\n(?!.*HTTP)/s, "one a connection");
  t.match(await answerTo(QUESTION.replace("GET", "PUT")), /^HTTP\/1\.1 405 .*Allow: GET, HEAD\r\n/s);
  t.match(await answerTo(QUESTION.replace("/probe/db", "/api/status")), /^HTTP\/1\.1 404 /);
  t.equal((await fetch(`http://127.0.0.1:${port}/probe/db`)).status, 200, "an ordinary client");
  t.equal(asked.length, 6, "what is refused is not even asked");
});

t.test("a port that is taken is an error, and free again after the end", async (t) => {
  const first = listenForProbes(port, (_name, answer) => answer(true));
  t.throws(() => listenForProbes(port, (_name, answer) => answer(true)), { code: "EADDRINUSE" });
  first.close();
  listen(t, () => true);
  t.match(await answerTo(QUESTION), / 200 /);
});

/** Connections that say `text` and then nothing. */
function crowd(t: Test, size: number, text: string): Promise<unknown>[] {
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  return Array.from({ length: size }, () => {
    const socket = connect({ host: "127.0.0.1", port }, () => text !== "" && socket.write(text));
    sockets.push(socket);
    socket.on("error", () => undefined).resume();
    return new Promise((resolve) => socket.once("close", resolve));
  });
}

t.test("those who say nothing, and those who say it slowly, are put out and keep nobody out", async (t) => {
  listen(t, () => true);
  const silent = crowd(t, 400, "");
  const slow = crowd(t, 200, "GET /probe/db HTTP/1.1\r\nX: ");
  for (let n = 0; n < 5; n++) t.match(await answerTo(QUESTION), / 200 /, "the load balancer is answered");
  await Promise.all([...silent, ...slow]);
  t.pass("all of them were put out");
});

t.test("an answer that is long in coming does not outlive its connection", async (t) => {
  const late: ((serves: boolean) => void)[] = [];
  const listener = listenForProbes(port, (_name, answer) => void late.push(answer));
  t.teardown(() => listener.close());
  t.equal(await answerTo(QUESTION), "", "put out without an answer");
  for (const answer of late) answer(true);
  t.equal(late.length, 1);
});

t.test("a flood of noise", async (t) => {
  const asked = listen(t, () => true);
  const noise = [
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "\0".repeat(100),
    "A".repeat(100_000),
    `GET /probe/db HTTP/1.1\r\n${"X: y\r\n".repeat(10_000)}`,
    "\r\n\r\n",
    "GET /probe/db\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  ];
  const answers = await Promise.all(
    noise.flatMap((text) => Array.from({ length: 10 }, () => answerTo(text))),
  );
  for (const answer of new Set(answers)) t.match(answer, /^($|HTTP\/1\.1 4(00|04|31) )/);
  t.same(asked, []);
  t.match(await answerTo(QUESTION), / 200 /);
});

t.test("while it is not known whether this node serves, so many wait and no more", async (t) => {
  const guardian = Object.assign(new EventEmitter(), { isAwake: () => false });
  const resources = { note: () => undefined, forget: () => undefined };
  const modules = new Map([["db", { probePort: port, serves: true, resources }]]);
  const ports = new ProbePorts(
    modules as unknown as ConstructorParameters<typeof ProbePorts>[0],
    guardian as unknown as GuardianLink,
  );
  t.teardown(() => ports.close());
  ports.look();
  // Each puts the oldest out of its connection, but not out of what waits.
  let answer = "";
  for (let round = 0; answer === "" && round < 10; round++) {
    void Promise.allSettled(crowd(t, 100, QUESTION));
    answer = await Promise.race([answerTo(QUESTION), Bun.sleep(200).then(() => "")]);
  }
  t.equal(answer, NOT_SERVED, "a no at once, in the place of a place in the queue");
});
