import itself from "./script.ts" with { type: "text" };
// The import map of deno.json, packages vendored in the folder, and what looks like an import and is none.
import { one } from "@lib/one.ts";
import pad from "pad";
import { three } from "vendored";
import * as everything from "@lib/two.ts";
export { two } from "@lib/two.ts";

console.log(itself.split("\n")[0]);
console.log(one, pad("x", 3), three, everything.two);
console.log('import pad from "pad"', `from "@lib/one.ts"`, "import('pad')"); // import "pad"
const { default: again } = await import("pad");
console.log(again("y", 2), (await import("@lib/one.ts")).one);
const name = "pad";
console.log((await import(name)).default("z", 2));
