// The language and the web's standards, as modern scripts use them.
import assert from "node:assert";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { attempt } from "./lib/attempt.ts";
import data from "./lib/data.json" with { type: "json" };
import words from "./lib/words.txt" with { type: "text" };
import { Shape, Suit } from "./lib/typescript.ts";
import type { Never } from "./lib/not_there.ts";

console.log(data, words);
console.log(Suit.Hearts, Suit[1], new Shape("square", 2).area(), Shape.made);
const never: Never | undefined = undefined;
console.log(never, { a: 1 } satisfies Record<string, number>, <T,>(x: T) => x);
await attempt("using", async () => {
  const order: string[] = [];
  {
    using _one = { [Symbol.dispose]: () => order.push("one") };
    await using _two = { [Symbol.asyncDispose]: async () => void order.push("two") };
  }
  return order;
});
await attempt("private and static", () => {
  class Counter {
    static #made = 0;
    #count = 0;
    static {
      this.#made = 5;
    }
    readonly step = 2;
    add() {
      return (this.#count += this.step) + Counter.#made;
    }
  }
  return new Counter().add();
});
await attempt("syntax", () => [[3, 1, 2].toSorted(), [1, 2].at(-1), Object.groupBy([1, 2, 3], (x) => (x % 2 ? "odd" : "even")), new Set([1, 2]).union(new Set([3])), "a-b".replaceAll("-", "+"), structuredClone({ a: new Date(0) }), 1_000 ** 2, [..."añ"].length]);
await attempt("node", async () => [existsSync("/"), join("a", "..", "b"), createHash("sha256").update("x").digest("hex").slice(0, 8), Buffer.from("hé").toString("base64"), await readFile("/proc/sys/kernel/ostype", "utf8"), process.argv.length, typeof process.pid]);
await attempt("events", () => new EventEmitter().on("x", (value) => console.log("heard", value)).emit("x", 1));
await attempt("assert", () => assert.deepStrictEqual({ a: 1 }, { a: 1 }));
await attempt("timers", async () => (await sleep(5, "slept"), await new Promise((resolve) => queueMicrotask(() => resolve("micro")))));
await attempt("crypto", async () => [new Uint8Array(await crypto.subtle.digest("SHA-1", new TextEncoder().encode("x"))).slice(0, 4), crypto.randomUUID().length]);
await attempt("streams", async () => (await new Response(new Blob(["squeezed"]).stream().pipeThrough(new CompressionStream("gzip")).pipeThrough(new DecompressionStream("gzip"))).text()));
await attempt("URL", () => [new URL("../b?x=1", "https://e.org/a/c").href, new URLSearchParams({ a: "1 2" }).toString(), URL.canParse("x:y"), new URLPattern({ pathname: "/a/:b" }).exec("https://e.org/a/5")?.pathname.groups["b"]]);
await attempt("text", () => [btoa("x"), atob("eA=="), new TextDecoder("utf-16le").decode(new Uint8Array([104, 0])), encodeURIComponent("é/")]);
await attempt("abort", async () => (await Promise.allSettled([new Promise((_, no) => AbortSignal.timeout(5).addEventListener("abort", () => no(new Error("late"))))]))[0]!.status);
await attempt("events of the web", () => {
  const target = new EventTarget();
  target.addEventListener("x", (event) => console.log(event.type, (event as CustomEvent).detail));
  return target.dispatchEvent(new CustomEvent("x", { detail: 1 }));
});
await attempt("dynamic import", async () => (await import("./lib/typescript.ts")).Suit.Spades);
await attempt("dynamic import of JSON", async () => (await import("./lib/data.json", { with: { type: "json" } })).default.list);
await attempt("dynamic import of none", async () => {
  try {
    return await import("./lib/nowhere.ts" as string);
  } catch (error) {
    return error instanceof Error;
  }
});
await attempt("intl", () => [new Intl.NumberFormat("de").format(1234.5), new Date(0).toLocaleDateString("en-GB", { timeZone: "UTC" })]);
await attempt("performance", () => performance.now() > 0 && typeof performance.timeOrigin);
await attempt("import.meta", () => [import.meta.url.startsWith("file:///"), import.meta.resolve("./x.ts") === new URL("x.ts", import.meta.url).href]);
await attempt("worker-less globals", () => [typeof fetch, typeof WebSocket, typeof FormData, typeof self, typeof globalThis.addEventListener]);
