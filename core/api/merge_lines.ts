/** Several logs as one, sorted by time; when they are followed, what is there first is, and then lines as they come. */
import { readResult } from "./result.ts";

/** Longer than a node takes from one line of its log to the next while it reads them from disk, ms. */
const PAUSE_MS = 200;

/**
 * Answers, each a stream of JSON lines, as one such stream; of those that end, the last `most` lines. One that did not come is a line too;
 * when none came, the first refusal is the answer.
 */
export function mergeLines(
  answers: readonly (readonly [string, Response])[],
  follow: boolean,
  most = Infinity,
): Response {
  if (answers.every(([, { ok }]) => !ok)) return answers[0]![1];
  const sources = answers.map(([name, response]) => linesOf(name, response));
  const stream = follow ? followed(interleave(sources)) : sorted(sources, most);
  return new Response(toStream(stream), { headers: { "content-type": "application/x-ndjson" } });
}

async function* linesOf(node: string, response: Response): AsyncGenerator<string> {
  if (!response.ok || response.body === null) {
    const text = `no log of ${node}: ${readResult(await response.text()).message}`;
    yield JSON.stringify({ time: new Date().toISOString(), node, level: "error", text });
    return;
  }
  yield* splitLines(response.body);
}

/** The lines of a stream of bytes, without their ends. */
export async function* splitLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const part of body) {
    rest += decoder.decode(part, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

async function* sorted(sources: readonly AsyncIterable<string>[], most: number): AsyncGenerator<string> {
  const all = await Promise.all(sources.map(async (source) => await Array.fromAsync(source)));
  const lines = byTime(all.flat());
  yield* lines.slice(Math.max(0, lines.length - most));
}

function byTime(lines: readonly string[]): string[] {
  const timed = lines.map((line) => ({ line, time: (JSON.parse(line) as { time: string }).time }));
  timed.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  return timed.map(({ line }) => line);
}

/** What comes without a pause is what was there. */
async function* followed(stream: AsyncGenerator<string>): AsyncGenerator<string> {
  const past: string[] = [];
  let coming = stream.next();
  try {
    for (;;) {
      const step = await Promise.race([coming, Bun.sleep(PAUSE_MS).then(() => null)]);
      if (step === null || step.done === true) break;
      past.push(step.value);
      coming = stream.next();
    }
    yield* byTime(past);
    for (let step = await coming; step.done !== true; step = await stream.next()) yield step.value;
  } finally {
    void stream.return(undefined).catch(() => {});
  }
}

async function* interleave(sources: readonly AsyncGenerator<string>[]): AsyncGenerator<string> {
  const next = async (source: AsyncGenerator<string>) => ({ source, step: await source.next() });
  const pending = new Map(sources.map((source) => [source, next(source)]));
  try {
    while (pending.size > 0) {
      const { source, step } = await Promise.race(pending.values());
      pending.delete(source);
      if (step.done === true) continue;
      pending.set(source, next(source));
      yield step.value;
    }
  } finally {
    // A source in the middle of a wait ends when the request that feeds it is aborted; nobody needs to wait for that.
    for (const source of sources) void source.return(undefined).catch(() => {});
  }
}

function toStream(lines: AsyncGenerator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await lines.next();
      if (done === true) controller.close();
      else controller.enqueue(encoder.encode(`${value}\n`));
    },
    cancel() {
      void lines.return(undefined).catch(() => {});
    },
  });
}
