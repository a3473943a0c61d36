import { attempt } from "./lib/attempt.ts";

const { errors } = Deno;
for (const [name, Made] of Object.entries(errors)) {
  const error = new Made("words", { cause: "why" });
  console.log(name, Made.name, error instanceof Error, error instanceof Made, error.name, error.message, String(error), error.cause);
}
// Every class by its name, so that none can be forgotten:
console.log([
  Deno.errors.NotFound, Deno.errors.PermissionDenied, Deno.errors.ConnectionRefused, Deno.errors.ConnectionReset,
  Deno.errors.ConnectionAborted, Deno.errors.NotConnected, Deno.errors.AddrInUse, Deno.errors.AddrNotAvailable,
  Deno.errors.BrokenPipe, Deno.errors.AlreadyExists, Deno.errors.InvalidData, Deno.errors.TimedOut,
  Deno.errors.Interrupted, Deno.errors.WriteZero, Deno.errors.WouldBlock, Deno.errors.UnexpectedEof,
  Deno.errors.BadResource, Deno.errors.Http, Deno.errors.Busy, Deno.errors.NotSupported, Deno.errors.FilesystemLoop,
  Deno.errors.IsADirectory, Deno.errors.NetworkUnreachable, Deno.errors.NotADirectory, Deno.errors.NotCapable,
]);
await attempt("instanceof", () => {
  try {
    Deno.statSync("missing");
  } catch (error) {
    return [error instanceof Deno.errors.NotFound, error instanceof Deno.errors.AlreadyExists, Object.keys(error as Error)];
  }
});
// What the kernel says, in the class that it belongs to.
await attempt("not empty", () => (Deno.mkdirSync("d/e", { recursive: true }), Deno.remove("d")));
await attempt("too long a name", () => Deno.writeTextFile("x".repeat(300), ""));
await attempt("across file systems", () => Deno.link("/proc/self/status", "linked"));
await attempt("full", () => Deno.writeTextFile("/dev/full", "x"));
await attempt("a device that is busy", () => Deno.rename("/proc", "/never"));
await attempt("read only", () => Deno.writeTextFile("/proc/version", "x"));
await attempt("not permitted", () => Deno.remove("/proc/self"));
await attempt("no seeking", async () => (await Deno.open("/dev/tty-none")).seek(0, 0));
