/** Several logs as one: sorted by time when they end, as they come when they are followed. */

/** Answers of the nodes, each a stream of JSON lines, as one such stream. A node that did not answer is a line too. */
export function mergeLines(answers: readonly (readonly [string, Response])[], follow: boolean): Response {
  const sources = answers.map(([node, response]) => linesOf(node, response));
  const stream = follow ? interleave(sources) : sorted(sources);
  return new Response(toStream(stream), { headers: { "content-type": "application/x-ndjson" } });
}

async function* linesOf(node: string, response: Response): AsyncGenerator<string> {
  if (!response.ok || response.body === null) {
    const text = `no log of ${node}: ${(await response.text()).slice(0, 500)}`;
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

async function* sorted(sources: readonly AsyncIterable<string>[]): AsyncGenerator<string> {
  const all = await Promise.all(sources.map(async (source) => await Array.fromAsync(source)));
  const timed = all.flat().map((line) => ({ line, time: (JSON.parse(line) as { time: string }).time }));
  for (const { line } of timed.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))) yield line;
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
