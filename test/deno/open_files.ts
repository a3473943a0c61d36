// open, create and what an FsFile can.
import { attempt, bytes, text } from "./lib/attempt.ts";

Deno.writeTextFileSync("f", "hello, world");
const read = (file: Deno.FsFile, size: number) => {
  const into = new Uint8Array(size);
  const count = file.readSync(into);
  return count === null ? null : text(into.subarray(0, count));
};
{
  using file = await Deno.open("f");
  await attempt("read", async () => {
    const into = new Uint8Array(5);
    return [await file.read(into), text(into)];
  });
  await attempt("readSync", () => read(file, 2));
  await attempt("seek", async () => [await file.seek(-5, Deno.SeekMode.End), read(file, 10)]);
  await attempt("at the end", () => read(file, 10));
  await attempt("read at the end", () => file.read(new Uint8Array(4)));
  await attempt("into nothing", async () => [await file.read(new Uint8Array(0)), file.readSync(new Uint8Array(0))]);
  await attempt("seekSync", () => [file.seekSync(2, Deno.SeekMode.Start), file.seekSync(1n, Deno.SeekMode.Current)]);
  await attempt("before the start", () => file.seek(-20, Deno.SeekMode.Start));
  await attempt("write to it", () => file.write(bytes("x")));
  await attempt("writeSync to it", () => file.writeSync(bytes("x")));
  await attempt("truncate it", () => file.truncate(1));
  await attempt("stat", async () => [(await file.stat()).size, file.statSync().isFile]);
  await attempt("isTerminal", () => file.isTerminal());
  await attempt("setRaw", () => file.setRaw(true));
  await attempt("itself", () => file);
}
{
  const file = Deno.openSync("g", { write: true, read: true, create: true, mode: 0o600 });
  await attempt("write", () => file.write(bytes("abcdef")));
  await attempt("writeSync", () => file.writeSync(bytes("ghi")));
  await attempt("sync", () => file.sync());
  await attempt("syncSync", () => file.syncSync());
  await attempt("syncData", () => file.syncData());
  await attempt("syncDataSync", () => file.syncDataSync());
  await attempt("truncate", async () => (await file.truncate(4), file.statSync().size));
  await attempt("truncateSync", () => (file.truncateSync(2), file.statSync().size));
  await attempt("truncate to nothing", async () => (await file.truncate(), file.statSync().size));
  await attempt("utime", async () => (await file.utime(5, 6), file.statSync().mtime?.getTime()));
  await attempt("utimeSync", () => (file.utimeSync(7, new Date(8000)), file.statSync().mtime?.getTime()));
  file.close();
  await attempt("read closed", () => file.read(new Uint8Array(1)));
  await attempt("write closed", () => file.writeSync(new Uint8Array(1)));
  await attempt("seek closed", () => file.seekSync(0, 0));
  await attempt("stat closed", () => file.stat());
  await attempt("close closed", () => file.close());
  await attempt("dispose closed", () => file[Symbol.dispose]());
  await attempt("mode", () => (Deno.statSync("g").mode! & 0o777).toString(8));
}
{
  using file = await Deno.open("log", { append: true, create: true });
  await file.write(bytes("one\n"));
  file.writeSync(bytes("two\n"));
  await attempt("appended", () => Deno.readTextFileSync("log"));
}
{
  const file = await Deno.create("c");
  const { writable } = file;
  const writer = writable.getWriter();
  await writer.write(bytes("through a stream"));
  await writer.close();
  await attempt("writable", () => Deno.readTextFileSync("c"));
  await attempt("closed by it", () => file.stat());
  const again = Deno.createSync("c");
  await attempt("createSync", () => again.statSync().size);
  again.close();
}
{
  const file = await Deno.open("f");
  await attempt("readable", async () => await new Response(file.readable).text());
  await attempt("closed by it", () => file.statSync());
  await attempt("piped", async () => {
    const from = await Deno.open("f");
    const to = await Deno.open("copy", { write: true, createNew: true });
    await from.readable.pipeTo(to.writable);
    return Deno.readTextFileSync("copy");
  });
}
{
  using first = Deno.openSync("lock", { write: true, create: true });
  using second = Deno.openSync("lock", { write: true });
  await attempt("lock", () => first.lock(true));
  await attempt("tryLock", async () => [await second.tryLock(true), second.tryLockSync(false)]);
  await attempt("unlock", () => first.unlock());
  await attempt("lockSync", () => second.lockSync(false));
  await attempt("shared", () => [first.tryLockSync(false), first.tryLockSync(true)]);
  await attempt("unlockSync", () => (second.unlockSync(), first.tryLockSync(true)));
  await attempt("waits", async () => {
    const order: string[] = [];
    const waiting = second.lock(true).then(() => order.push("second has it"));
    await new Promise((resolve) => setTimeout(resolve, 30));
    order.push("first gives it");
    first.unlockSync();
    await waiting;
    return order;
  });
}
const options: [string, Deno.OpenOptions][] = [
  ["nothing", {}],
  ["truncate without write", { read: true, truncate: true }],
  ["create without write", { read: true, create: true }],
  ["createNew without write", { read: true, createNew: true }],
  ["append and truncate", { write: true, append: true, truncate: true }],
  ["createNew of a file", { write: true, createNew: true }],
  ["read and write", { read: true, write: true }],
];
for (const [name, value] of options) {
  await attempt(name, async () => (await Deno.open("f", value)).close());
  await attempt(`${name} at once`, () => Deno.openSync("f", value).close());
}
await attempt("untouched", () => Deno.readTextFileSync("f"));
await attempt("truncated", async () => ((await Deno.open("f", { write: true, truncate: true })).close(), Deno.statSync("f").size));
for (const path of ["missing", "f/x", ""]) {
  await attempt(`open ${path}`, () => Deno.open(path));
  await attempt(`openSync ${path}`, () => Deno.openSync(path));
}
await attempt("new FsFile", () => new (Deno.FsFile as unknown as new () => unknown)());
await attempt("SeekMode", () => [Deno.SeekMode.Start, Deno.SeekMode.Current, Deno.SeekMode.End, Deno.SeekMode[1]]);
await attempt("a FIFO", async () => {
  await new Deno.Command("mkfifo", { args: ["fifo"] }).output();
  const [content] = await Promise.all([Deno.readTextFile("fifo"), Deno.writeTextFile("fifo", "through a pipe")]);
  return content;
});
