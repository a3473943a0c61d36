import { attempt } from "./lib/attempt.ts";

for (const name of ["read", "write", "net", "run", "env", "sys", "ffi"] as const)
  await attempt(name, async () => [(await Deno.permissions.query({ name })).state, Deno.permissions.querySync({ name }).partial]);
await attempt("of a path", async () => (await Deno.permissions.query({ name: "read", path: "/etc" })).state);
await attempt("request", async () => (await Deno.permissions.request({ name: "net", host: "a:80" })).state);
await attempt("requestSync", () => Deno.permissions.requestSync({ name: "run", command: "ls" }).state);
await attempt("onchange", () => Deno.permissions.querySync({ name: "env", variable: "HOME" }).onchange);
await attempt("unknown", () => Deno.permissions.query({ name: "everything" as "read" }));
await attempt("an answer", () => Deno.permissions.query({ name: "read" }));
await attempt("the object", () => [Deno.permissions, Deno.permissions instanceof Deno.Permissions]);
await attempt("its kind", () => Deno.permissions.querySync({ name: "read" }) instanceof Deno.PermissionStatus);
await attempt("new Permissions", () => new (Deno.Permissions as unknown as new () => unknown)());
await attempt("new PermissionStatus", () => new (Deno.PermissionStatus as unknown as new () => unknown)());
