// The script's arguments, its place, and what it was started as.
console.log(Deno.args, Deno.args.length);
Deno.args.push("three");
console.log(Deno.args.join());
console.log(import.meta.main, Deno.mainModule === import.meta.url, import.meta.filename?.endsWith("arguments.ts"));
console.log(import.meta.dirname === Deno.realPathSync(new URL(".", import.meta.url)).replace(/\/$/, ""));
console.log(Deno.noColor, typeof Deno.execPath(), Deno.execPath().startsWith("/"));
