/** What applications may expect of owners and permissions: who may, who owns what was made, what a write takes away. See posix.ts. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { asNobody, type Rules, run } from "./posix_calls.ts";

export const permissionRules: Rules = {
  "inode(7), S_ISGID: files created there inherit their group ID from the directory, and directories the bit too":
    (d) => {
      fs.mkdirSync(`${d}/shared`);
      fs.chownSync(`${d}/shared`, 0, 4242);
      fs.chmodSync(`${d}/shared`, 0o2777);
      asNobody(`umask 022; cd ${d}/shared; mkdir sub; echo > file`);
      assert.equal(fs.statSync(`${d}/shared/file`).gid, 4242);
      assert.equal(fs.statSync(`${d}/shared/file`).uid, 65534);
      assert.equal(fs.statSync(`${d}/shared/sub`).gid, 4242);
      assert.equal(fs.statSync(`${d}/shared/sub`).mode & 0o7777, 0o2755);
    },

  "umask(2): permissions in the umask are turned off from the mode argument to open(2), mkdir(2) and mknod(2)":
    (d) => {
      run("sh", "-ec", `umask 027; cd ${d}; echo > f; mkdir m; mkfifo p`);
      assert.equal(fs.statSync(`${d}/f`).mode & 0o777, 0o640);
      assert.equal(fs.statSync(`${d}/m`).mode & 0o777, 0o750);
      assert.equal(fs.statSync(`${d}/p`).mode & 0o777, 0o640);
    },

  "inode(7): the owner of a new file is the effective user ID of the creating process, for every kind": (
    d,
  ) => {
    fs.chmodSync(d, 0o777);
    asNobody(`cd ${d}; echo > f; mkdir m; ln -s x l; mkfifo p; touch s; chmod 4755 s`);
    for (const name of ["f", "m", "l", "p", "s"]) {
      const stat = fs.lstatSync(`${d}/${name}`);
      assert.deepEqual([stat.uid, stat.gid], [65534, 65534], name);
    }
    assert.equal(fs.statSync(`${d}/s`).mode & 0o7777, 0o4755);
  },

  "path_resolution(7), Permissions: the owner, group and other bits decide; CAP_DAC_OVERRIDE does not need them":
    (d) => {
      fs.mkdirSync(`${d}/closed`, { mode: 0o700 });
      fs.writeFileSync(`${d}/closed/f`, "x");
      fs.writeFileSync(`${d}/f`, "x", { mode: 0o600 });
      assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
      assert.throws(() => asNobody(`cat ${d}/closed/f 2>&1`));
      assert.throws(() => asNobody(`touch ${d}/new 2>&1`));
      asNobody(`cat ${d}/f`, "--inh-caps=+dac_override", "--ambient-caps=+dac_override");
    },

  "credentials(7): supplementary group IDs are used for permission checks": (d) => {
    fs.chownSync(d, 0, 4242);
    fs.chmodSync(d, 0o770);
    run("setpriv", "--reuid=65534", "--regid=65534", "--groups=4242", "sh", "-ec", `echo hello > ${d}/f`);
    assert.equal(fs.statSync(`${d}/f`).gid, 65534);
  },

  "unlink(2), EPERM: the directory has the sticky bit set and the process owns neither the file nor the directory":
    (d) => {
      fs.chmodSync(d, 0o1777);
      fs.writeFileSync(`${d}/mine`, "");
      assert.throws(() => asNobody(`rm -f ${d}/mine 2>&1`));
      assert.ok(fs.existsSync(`${d}/mine`));
    },

  "acl(5): the new object inherits the default ACL of the containing directory as its access ACL; the umask then plays no part":
    (d) => {
      run("setfacl", "-d", "-m", "u:4242:rwx,g::rx,o::-", d);
      run("sh", "-ec", `umask 077; cd ${d}; echo > f; mkdir m`);
      const acl = run("getfacl", "-cp", `${d}/f`);
      assert.match(acl, /user:4242:rwx\s+#effective:rw-/);
      assert.equal(fs.statSync(`${d}/f`).mode & 0o777, 0o660);
      assert.match(run("getfacl", "-cp", `${d}/m`), /default:user:4242:rwx/);
      run("setfacl", "-k", d);
      run("sh", "-ec", `umask 077; echo > ${d}/g`);
      assert.equal(fs.statSync(`${d}/g`).mode & 0o777, 0o600);
    },

  "acl(5): a named user entry grants within the mask; chmod changes the mask": (d) => {
    fs.writeFileSync(`${d}/f`, "secret", { mode: 0o600 });
    assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
    run("setfacl", "-m", "u:65534:r", `${d}/f`);
    assert.equal(asNobody(`cat ${d}/f`), "secret");
    fs.chmodSync(`${d}/f`, 0o600);
    assert.throws(() => asNobody(`cat ${d}/f 2>&1`));
    run("setfacl", "-b", `${d}/f`);
    assert.doesNotMatch(run("getfacl", "-cp", `${d}/f`), /65534/);
  },

  "write(2), chown(2): set-user-ID and set-group-ID bits are cleared by unprivileged writes, truncation and chown":
    (d) => {
      fs.writeFileSync(`${d}/f`, "x");
      fs.chmodSync(`${d}/f`, 0o6777);
      asNobody(`echo more >> ${d}/f`);
      assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o777);
      fs.chmodSync(`${d}/f`, 0o6777);
      asNobody(`: > ${d}/f`);
      assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o777);
      fs.chmodSync(`${d}/f`, 0o6755);
      fs.chownSync(`${d}/f`, 1, 1);
      assert.equal(fs.statSync(`${d}/f`).mode & 0o7777, 0o755);
    },

  "capabilities(7): security.capability is removed when the file is written": (d) => {
    fs.writeFileSync(`${d}/f`, "x", { mode: 0o755 });
    const capability = "0sAQAAAgAgAAAAAAAAAAAAAAAAAAA=";
    run("setfattr", "-n", "security.capability", "-v", capability, `${d}/f`);
    fs.appendFileSync(`${d}/f`, "y");
    run("sync", `${d}/f`);
    assert.throws(() => run("getfattr", "-n", "security.capability", `${d}/f`));
  },

  "ioctl_iflags(2), FS_IMMUTABLE_FL: no changes are permitted to the file contents or metadata": (d) => {
    fs.writeFileSync(`${d}/f`, "x");
    run("chattr", "+i", `${d}/f`);
    try {
      assert.match(run("lsattr", `${d}/f`), /^----i/);
      assert.throws(() => fs.unlinkSync(`${d}/f`), { code: "EPERM" });
      assert.throws(() => fs.chmodSync(`${d}/f`, 0o600), { code: "EPERM" });
      assert.throws(() => fs.truncateSync(`${d}/f`, 0), { code: "EPERM" });
    } finally {
      run("chattr", "-i", `${d}/f`);
    }
    fs.unlinkSync(`${d}/f`);
  },
};
