import { attempt } from "./lib/attempt.ts";

let heard = 0;
const { promise, resolve } = Promise.withResolvers<void>();
const listener = () => {
  heard++;
  resolve();
};
Deno.addSignalListener("SIGUSR1", listener);
Deno.addSignalListener("SIGUSR1", listener);
const alive = setInterval(() => {}, 1000);
Deno.kill(Deno.pid, "SIGUSR1");
await promise;
await attempt("heard", () => heard);
Deno.removeSignalListener("SIGUSR1", listener);
Deno.removeSignalListener("SIGUSR2", listener);
for (const signal of ["SIGKILL", "SIGSTOP", "SIGSEGV", "SIGFOO"] as Deno.Signal[]) {
  await attempt(`listen to ${signal}`, () => Deno.addSignalListener(signal, listener));
  await attempt(`listen no more to ${signal}`, () => Deno.removeSignalListener(signal, listener));
}
await attempt("kill of nobody", () => Deno.kill(4_194_305, "SIGTERM"));
await attempt("kill with a wrong name", () => Deno.kill(Deno.pid, "SIGFOO" as Deno.Signal));
await attempt("kill 0", () => Deno.kill(Deno.pid, 0));
await attempt("kill by number", async () => {
  const child = new Deno.Command("sleep", { args: ["100"] }).spawn();
  Deno.kill(child.pid, 15);
  return (await child.status).signal;
});
await attempt("kill by default", async () => {
  const child = new Deno.Command("sleep", { args: ["100"] }).spawn();
  Deno.kill(child.pid);
  return (await child.status).signal;
});
clearInterval(alive);
Deno.addSignalListener("SIGTERM", () => {
  console.log("terminated");
  Deno.exit(9);
});
Deno.kill(Deno.pid, "SIGTERM");
await new Promise((resolve) => setTimeout(resolve, 1000));
