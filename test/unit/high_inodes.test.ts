/** Inode numbers above 2^40: refused at the mount, or when such an object is met, and never the end of the process. */
import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Backing, openRoot } from "../../core/filesystem/fuse/backing.ts";
import { Identities } from "../../core/filesystem/objects/identity.ts";
import { errnos } from "../../core/platform/linux/errno.ts";
import { close, memfdCreate } from "../../core/platform/linux/libc.ts";
import { cannotMount, mountLocally } from "../fixtures/mounted.ts";

const base = fs.mkdtempSync(join(tmpdir(), `holdfast-inodes-${process.pid}-`));
const at = (name: string): string => join(base, name);

/** An overlay, in which what lies on the lower file system has inode numbers beyond all bounds. Returns why there is none, or false. */
function overlay(): string | false {
  for (const name of ["lower", "upper", "both"]) fs.mkdirSync(at(name));
  for (const name of ["lower", "upper"]) execFileSync("mount", ["-t", "tmpfs", "none", at(name)]);
  for (const name of ["lower/data", "upper/files", "upper/work"]) fs.mkdirSync(at(name));
  fs.writeFileSync(at("lower/high"), "");
  const options = `lowerdir=${at("lower")},upperdir=${at("upper/files")},workdir=${at("upper/work")},xino=on`;
  const { stderr } = spawnSync("mount", ["-t", "overlay", "-o", options, "none", at("both")], {
    encoding: "utf8",
  });
  return stderr === "" ? false : `no overlayfs with xino: ${stderr}`;
}

const skip = cannotMount ?? overlay();
t.teardown(() => {
  for (const name of ["both", "upper", "lower"]) spawnSync("umount", [at(name)]);
  fs.rmSync(base, { recursive: true, force: true });
});

t.test("an inode number that leaves no room for an identity is said once", async (t) => {
  const fd = fs.openSync(base, "r");
  const identities = new Identities(fd, 1);
  let said = 0;
  identities.onTooHigh = () => said++;
  t.equal(identities.isLocal(5, 1, 256), false);
  t.equal(said, 0);
  t.equal(identities.local(1, 256), -errnos.EOVERFLOW);
  t.equal(identities.local(2, 256), -errnos.EOVERFLOW);
  t.equal(said, 1);
  t.ok(identities.local(0xffff_ffff, 255) > 0);
  fs.closeSync(fd);
});

t.test("a directory with such a number is refused, by name", { skip }, async (t) => {
  const root = openRoot(at("both/data"));
  t.throws(() => new Backing(root, memfdCreate("nodes"), 1, null), {
    message: `${at("both/data")} (overlay) has inode numbers above 2^40 and cannot be replicated: mount the overlay with xino=off, or use a directory on another file system`,
  });
  close(root);
});

t.test("an object with such a number cannot be used, all others can", { skip }, async (t) => {
  const mounted = await mountLocally({ path: at("both") });
  t.throws(() => fs.statSync(at("both/high")), { code: "EOVERFLOW" });
  fs.writeFileSync(at("both/new"), "new");
  t.same(fs.readdirSync(at("both")).sort(), ["data", "high", "new"]);
  t.equal(fs.readFileSync(at("both/new"), "utf8"), "new");
  t.equal(await mounted.stop(), "");
});
