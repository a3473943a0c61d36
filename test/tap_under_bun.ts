/**
 * Preload that lets tap run under Bun: `bun --preload ./test/tap_under_bun.ts FILE`.
 *
 * tap measures a header that node:v8 writes, and trusts only objects whose class is called CallSite; Bun has
 * neither. Both modules are rewritten as they load; nothing on disk changes.
 */
import { plugin } from "bun";

/** node:v8's header: a marker byte and the format version. */
const V8_HEADER_BYTES = "{ writeHeader() {}, releaseBuffer: () => new Uint8Array(2) }";

plugin({
  name: "tap-under-bun",
  setup(build) {
    build.onLoad({ filter: /error-serdes\/dist\/esm\/constants\.js$/ }, async ({ path }) => ({
      contents: (await Bun.file(path).text())
        .replace("import { DefaultSerializer } from 'node:v8';", "")
        .replace("new DefaultSerializer()", V8_HEADER_BYTES),
      loader: "js",
    }));
    build.onLoad({ filter: /stack\/dist\/esm\/call-site-like\.js$/ }, async ({ path }) => ({
      contents: (await Bun.file(path).text()).replace(
        "c.constructor?.name === 'CallSite'",
        "typeof c.getFileName === 'function'",
      ),
      loader: "js",
    }));
  },
});
