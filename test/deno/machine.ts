import { attempt } from "./lib/attempt.ts";

const near = (a: number, b: number, by: number) => Math.abs(a - b) <= by;
await attempt("build", () => Deno.build);
await attempt("frozen", () => Object.isFrozen(Deno.build));
await attempt("version", () => [Deno.version.deno, Deno.version.typescript, Object.keys(Deno.version)]);
await attempt("pid", () => Deno.pid === Number(Deno.readTextFileSync("/proc/self/stat").split(" ")[0]));
await attempt("ppid", () => Deno.ppid === Number(Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ")[1]));
await attempt("hostname", () => Deno.hostname() === Deno.readTextFileSync("/proc/sys/kernel/hostname").trim());
await attempt("osRelease", () => Deno.osRelease() === Deno.readTextFileSync("/proc/sys/kernel/osrelease").trim());
await attempt("osUptime", () => near(Deno.osUptime(), Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]), 2));
await attempt("loadavg", () => [Deno.loadavg().length, Deno.loadavg().every((load) => load >= 0)]);
await attempt("uid and gid", () => [Deno.uid(), Deno.gid()]);
await attempt("memoryUsage", () => Object.entries(Deno.memoryUsage()).map(([name, value]) => [name, value > 0 || name === "external"]));
await attempt("systemMemoryInfo", () => {
  const { total, ...rest } = Deno.systemMemoryInfo();
  const known = Number(/MemTotal: *(\d+)/.exec(Deno.readTextFileSync("/proc/meminfo"))![1]) * 1024;
  return [total === known, Object.keys(rest), Object.values(rest).every((value) => value >= 0 && value <= total * 100)];
});
await attempt("cpuUsage", () => {
  const usage = (Deno as unknown as { cpuUsage(): Record<string, number> }).cpuUsage();
  return [Object.keys(usage), usage["user"]! > 0];
});
await attempt("networkInterfaces", () => Deno.networkInterfaces().filter(({ name }) => name === "lo"));
await attempt("their order", () => Deno.networkInterfaces().map(({ family, name }) => `${family} ${name}`));
await attempt("consoleSize", () => Deno.consoleSize());
await attempt("isatty", () => (Deno as unknown as { isatty(fd: number): boolean }).isatty(1));
await attempt("unrefTimer", () => {
  const timer = setTimeout(() => console.log("never"), 100_000);
  Deno.refTimer(timer);
  Deno.unrefTimer(timer);
});
