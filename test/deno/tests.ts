// A script that is run, not tested: what it registers does nothing.
import { attempt } from "./lib/attempt.ts";

const never = () => console.log("never");
await attempt("names", () => Object.keys(Deno.test).sort());
await attempt("a name and a function", () => Deno.test("one", never));
await attempt("a function", () => Deno.test(function two() {
  never();
}));
await attempt("an object", () => Deno.test({ name: "three", fn: never, sanitizeOps: false }));
await attempt("options", () => Deno.test("four", { ignore: true }, never));
await attempt("ignore", () => Deno.test.ignore("five", never));
await attempt("only", () => Deno.test.only("six", never));
await attempt("each", () => Deno.test.each([[1, 2]] as const)("seven %d", never));
await attempt("around", () => {
  Deno.test.beforeAll(never);
  Deno.test.beforeEach(never);
  Deno.test.afterEach(never);
  Deno.test.afterAll(never);
  Deno.test.sanitizer({ ops: false });
});
