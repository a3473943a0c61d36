/**
 * Clients of a farm on one machine, with many source addresses: `bun farm_client.ts ACT ADDRESS PORT COUNT [FIRST]`. They speak HTTP/1.1 by hand, so that
 * each connection is seen for itself: who answered, and how it ended.
 *
 * `udp` and `fragments`: as visit, by a datagram each; `answer` is the server for it. `visit`: COUNT connections, one request each; prints by node how many it answered, and what went wrong.
 * Until the standard input closes: `stay`: COUNT connections that ask again and again; prints for each the node, the number of answers, how it ended and the longest wait, ms.
 * `turnover`: the same, and each ends after some requests and is followed by a new one; prints how many, and what went wrong. `probe`: a new one of COUNT clients every 5 ms; prints how each fared.
 */
import { connect, type Socket } from "node:net";
import { hostname } from "node:os";

/** What `visit` prints. */
export interface Visits {
  answers: Record<string, number>;
  /** By client, the node. */
  nodes: Record<string, string>;
  failures: Record<string, number>;
}

/** What `stay` prints: a connection each. */
export interface Stay {
  client: string;
  nodes: string[];
  answers: number;
  /** How it ended while it was wanted; "" when it lasted. */
  end: string;
  longestMs: number;
  /** What waited in vain for so long when the test ended, ms; 0: nothing. */
  openMs: number;
}

/** What `turnover` prints. */
export interface Turnover {
  connections: number;
  requests: number;
  failures: Record<string, number>;
}

/** What `probe` prints: a connection each, in the order of their beginnings. */
export interface Probe {
  client: string;
  /** When it began, ms. */
  at: number;
  /** Who answered; null: nobody in time. */
  node: string | null;
}

const AT_ONCE = 64;
const EVERY_MS = 30;
const PATIENCE_MS = 3000;
/** Less than the second after which the kernel asks again: who was not heard has failed. */
const PROBE_MS = 500;
const PROBE_EVERY_MS = 5;
/** Requests of a connection that ends by itself. */
const REQUESTS = 12;

/** Client number n, from a network that the testbed routes to this machine. */
export function clientAddress(n: number, version: 4 | 6): string {
  return version === 4
    ? `10.90.${(n >> 8) & 255}.${n & 255}`
    : `fd90::${(n >> 16).toString(16)}:${(n & 0xffff).toString(16)}`;
}

const REQUEST = "GET / HTTP/1.1\r\nHost: farm\r\n\r\n";
/** The body of the first whole answer in `text`, and what follows it; null: not all of it is there. */
function answerIn(text: string): { body: string; rest: string } | null {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return null;
  const length = Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
  if (text.length < head + 4 + length) return null;
  return { body: text.slice(head + 4, head + 4 + length), rest: text.slice(head + 4 + length) };
}

function open(address: string, port: number, client: string): Socket {
  const socket = connect({ host: address, port, localAddress: client });
  socket.setNoDelay(true);
  socket.setEncoding("latin1");
  return socket;
}

function visitOnce(address: string, port: number, client: string, patienceMs = PATIENCE_MS): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = open(address, port, client);
    let text = "";
    const timer = setTimeout(() => socket.destroy(new Error("no answer")), patienceMs);
    socket.on("connect", () => socket.write(REQUEST));
    socket.on("data", (chunk) => {
      text += String(chunk);
      const answer = answerIn(text);
      if (answer === null) return;
      clearTimeout(timer);
      socket.end();
      resolve(answer.body);
    });
    socket.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.on("close", () => reject(new Error("closed without an answer")));
  });
}

async function visit(address: string, port: number, count: number, first: number): Promise<Visits> {
  const version = address.includes(":") ? 6 : 4;
  const result: Visits = { answers: {}, nodes: {}, failures: {} };
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      const client = clientAddress(first + n, version);
      try {
        const node = await visitOnce(address, port, client);
        result.answers[node] = (result.answers[node] ?? 0) + 1;
        result.nodes[client] = node;
      } catch (error) {
        const { message } = error as Error;
        result.failures[message] = (result.failures[message] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return result;
}

async function stay(address: string, port: number, count: number, first: number): Promise<Stay[]> {
  const version = address.includes(":") ? 6 : 4;
  let isOver = false;
  let silent = count;
  const begun = (): void => {
    if (--silent === 0) console.log("ready");
  };
  const all = Array.from({ length: count }, (_, n): Promise<Stay> => {
    const client = clientAddress(first + n, version);
    const told: Stay = { client, nodes: [], answers: 0, end: "", longestMs: 0, openMs: 0 };
    return new Promise((resolve) => {
      const socket = open(address, port, client);
      let text = "";
      let asked = 0;
      const ask = (): void => {
        if (isOver) {
          socket.end();
          resolve(told);
          return;
        }
        asked = performance.now();
        socket.write(REQUEST);
      };
      const end = (how: string): void => {
        if (told.answers === 0 && told.end === "") begun();
        if (!isOver) told.end ||= how;
        resolve(told);
      };
      socket.on("connect", ask);
      socket.on("data", (chunk) => {
        text += String(chunk);
        const answer = answerIn(text);
        if (answer === null) return;
        text = answer.rest;
        if (told.answers === 0) begun();
        told.answers++;
        told.longestMs = Math.max(told.longestMs, performance.now() - asked);
        asked = 0;
        if (!told.nodes.includes(answer.body)) told.nodes.push(answer.body);
        setTimeout(ask, EVERY_MS);
      });
      socket.on("error", (error) => end((error as NodeJS.ErrnoException).code ?? error.message));
      socket.on("close", () => end("closed"));
      void over.then(() => {
        isOver = true;
        setTimeout(() => {
          told.openMs = asked > 0 ? performance.now() - asked : 0;
          socket.destroy();
          resolve(told);
        }, 500);
      });
    });
  });
  return await Promise.all(all);
}

/** A connection of REQUESTS requests, which the client ends. Rejects with how it ended instead. */
function asks(address: string, port: number, client: string, answered: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = open(address, port, client);
    let text = "";
    let left = REQUESTS;
    const wait = () => setTimeout(() => socket.destroy(new Error("no answer")), PATIENCE_MS);
    let timer = wait();
    const ask = (): void => {
      clearTimeout(timer);
      timer = wait();
      socket.write(REQUEST);
    };
    socket.on("connect", ask);
    socket.on("data", (chunk) => {
      text += String(chunk);
      const answer = answerIn(text);
      if (answer === null) return;
      clearTimeout(timer);
      text = answer.rest;
      answered();
      if (--left > 0) setTimeout(ask, EVERY_MS);
      else {
        socket.end();
        resolve();
      }
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
  });
}

async function turnover(address: string, port: number, count: number, first: number): Promise<Turnover> {
  const version = address.includes(":") ? 6 : 4;
  const result: Turnover = { connections: 0, requests: 0, failures: {} };
  let isOver = false;
  void over.then(() => (isOver = true));
  const answered = (): void => {
    if (result.requests++ === count) console.log("ready");
  };
  const client = async (n: number): Promise<void> => {
    while (!isOver) {
      result.connections++;
      try {
        await asks(address, port, clientAddress(first + n, version), answered);
      } catch (error) {
        const how = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
        result.failures[how] = (result.failures[how] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: count }, (_, n) => client(n)));
  return result;
}

/** One datagram each, from a port of its own. */
async function visitByUdp(
  address: string,
  port: number,
  count: number,
  first: number,
  bytes = 3,
): Promise<Visits> {
  const version = address.includes(":") ? 6 : 4;
  const result: Visits = { answers: {}, nodes: {}, failures: {} };
  const ask = async (n: number): Promise<void> => {
    const client = clientAddress(first + n, version);
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket = await Bun.udpSocket({
      hostname: client,
      socket: { data: (_socket, bytes) => resolve(String(bytes)) },
    });
    socket.send("w".repeat(bytes), port, address);
    const node = await Promise.race([promise, Bun.sleep(PATIENCE_MS).then(() => "")]);
    socket.close();
    const tally = node === "" ? result.failures : result.answers;
    const key = node === "" ? "no answer" : node;
    tally[key] = (tally[key] ?? 0) + 1;
    if (node !== "") result.nodes[client] = node;
  };
  for (let n = 0; n < count; n += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - n) }, (_, more) => ask(n + more)));
  return result;
}

/** The same, each in three fragments. */
const visitByFragments = (address: string, port: number, count: number, first: number): Promise<Visits> =>
  visitByUdp(address, port, count, first, 4000);

/** A new connection every 5 ms, of one client after the other, until the standard input closes. */
async function probe(address: string, port: number, count: number, first: number): Promise<Probe[]> {
  const version = address.includes(":") ? 6 : 4;
  let isOver = false;
  void over.then(() => (isOver = true));
  const running: Promise<Probe>[] = [];
  for (let n = 0; !isOver; n++) {
    const at = performance.now();
    const client = clientAddress(first + (n % count), version);
    running.push(
      visitOnce(address, port, client, PROBE_MS).then(
        (node) => ({ client, at, node }),
        () => ({ client, at, node: null }),
      ),
    );
    // By then each client has told its node.
    if (n === 2 * count) console.log("ready");
    await Bun.sleep(PROBE_EVERY_MS);
  }
  return await Promise.all(running);
}

/** Answers datagrams to an address with the name of this machine, for ever. */
async function answerByUdp(address: string, port: number): Promise<void> {
  await Bun.udpSocket({
    hostname: address,
    port,
    socket: {
      data: (socket, _bytes, from, at) => {
        try {
          socket.send(hostname(), from, at);
        } catch {
          // The client of an answer before this one has gone, as the kernel says now.
        }
      },
      error: () => undefined,
    },
  });
}

let over: Promise<unknown> = Promise.resolve();

if (import.meta.main) {
  const [act, address, port, count, first = "0"] = process.argv.slice(2) as [
    string,
    string,
    string,
    string,
    string?,
  ];
  if (act === "answer") await answerByUdp(address, Number(port));
  else {
    if (["stay", "turnover", "probe"].includes(act)) over = Bun.stdin.text();
    const run = { visit, stay, turnover, probe, udp: visitByUdp, fragments: visitByFragments }[act]!;
    console.log(JSON.stringify(await run(address, Number(port), Number(count), Number(first))));
    process.exit(0);
  }
}
