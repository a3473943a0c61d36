/** A descriptor that the runtime does not take is not one that has ended: whoever looked again at once would do so for ever. */
import { fstatSync, openSync } from "node:fs";
import t from "tap";
import { watchDescriptor } from "../../core/platform/linux/event_descriptor.ts";

t.test("a regular file cannot be waited for", async (t) => {
  const fd = openSync(import.meta.path, "r");
  const ends: boolean[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  watchDescriptor(
    fd,
    () => undefined,
    (isRefused) => {
      ends.push(isRefused);
      resolve();
    },
  );
  await promise;
  t.same(ends, [true]);
  t.throws(() => fstatSync(fd), /EBADF/, "it is closed");
});
