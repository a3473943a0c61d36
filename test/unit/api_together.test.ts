/** Answers of several nodes, or of several logs, put together: what is said of them all, and in which order. */
import t from "tap";
import { mergeLines } from "../../core/api/merge_lines.ts";
import { resultResponse } from "../../core/api/result.ts";
import { PeerWatch } from "../../core/daemon/module/peer_watch.ts";

const line = (seconds: number): string =>
  JSON.stringify({ time: `2026-01-01T00:00:0${seconds}Z`, node: "n1", level: "info", text: `${seconds}` });

async function texts(response: Response): Promise<string[]> {
  const lines = (await response.text()).trim().split("\n");
  return lines.map((one) => (JSON.parse(one) as { text: string }).text);
}

t.test("logs that end are sorted, and only the last lines of all are told", async (t) => {
  const logs = () =>
    [
      ["a", new Response(`${line(1)}\n${line(4)}\n`)],
      ["b", new Response(`${line(2)}\n${line(3)}\n`)],
    ] as const;
  t.strictSame(await texts(mergeLines(logs(), false)), ["1", "2", "3", "4"]);
  t.strictSame(await texts(mergeLines(logs(), false, 3)), ["2", "3", "4"]);
});

t.test(
  "logs that are followed begin with what was there, sorted; what comes is told as it comes",
  async (t) => {
    const later = Promise.withResolvers<void>();
    const first = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Buffer.from(`${line(3)}\n`));
        await later.promise;
        controller.enqueue(Buffer.from(`${line(9)}\n`));
        controller.close();
      },
    });
    const merged = mergeLines(
      [
        ["a", new Response(first)],
        ["b", new Response(`${line(1)}\n${line(5)}\n`)],
      ],
      true,
    );
    const reader = merged.body!.getReader();
    const next = async (): Promise<string> => Buffer.from((await reader.read()).value ?? []).toString();
    t.match([await next(), await next(), await next()], [/"1"/, /"3"/, /"5"/]);
    later.resolve();
    t.match(await next(), /"9"/);
    t.ok((await reader.read()).done);
  },
);

t.test("a log that is refused everywhere is refused; one that some node has is told", async (t) => {
  const refused = () => resultResponse({ status: 2, message: "there is no module" });
  const all = mergeLines(
    [
      ["n1", refused()],
      ["n2", refused()],
    ],
    false,
  );
  t.match([all.status, await all.json()], [400, { status: 2, message: "there is no module" }]);
  const some = mergeLines(
    [
      ["n1", refused()],
      ["n2", new Response(`${line(1)}\n`)],
    ],
    false,
  );
  t.strictSame((await texts(some)).sort(), ["1", "no log of n1: there is no module"]);
});

t.test("of a peer's resources it is known since when they are what they are", async (t) => {
  const quiet = { onView() {}, onLost() {}, onPromise() {}, onLan() {} };
  const timing = { interval: 200, timeout: 1000, lans: ["lan"], node: "n1", peer: "n2" };
  const watch = new PeerWatch({ ...timing, incarnation: "i" } as never, quiet);
  const say = (db: string): ReturnType<typeof watch.status>["resources"] => {
    const view = {
      state: "UP",
      readiness: "Ready",
      record: { consistency: "uptodate" },
      resources: { "tcp.db": db, "tcp.web": "up" },
    };
    watch.onBeat("n2", { hears: {}, leaving: false, views: {} }, view as never);
    return watch.status().resources;
  };
  const first = say("up");
  t.ok(Math.abs(Date.parse(first["tcp.db"]!.since) - Date.now()) < 60_000);
  await Bun.sleep(5);
  const second = say("down");
  t.strictSame(second["tcp.web"], first["tcp.web"], "nothing changed there");
  t.ok(second["tcp.db"]!.since > first["tcp.db"]!.since);
});
