/**
 * Real programs, as scripts: each works in a directory of its own below the current one and fails by itself when something is wrong. A
 * second call finds what the first left and goes on from there.
 */
import { join } from "node:path";

/** How to run a program that lies beside this file. */
export const ownProgram = (file: string): string => `"${process.execPath}" "${join(import.meta.dir, file)}"`;

/** Three kinds of locks, each contended by several processes. */
export const LOCKS = ["flock", "posix", "ofd"]
  .map((kind) => `${ownProgram("programs_locks.ts")} "$PWD/${kind}" ${kind}`)
  .join("\n");

const SMALL_TREE = `tree() { # DIR COUNT: many small files in many directories
  for d in $(seq $(($2 / 20))); do
    mkdir -p "$1/d$d"
    for f in $(seq 20); do echo "$1 $d $f $RANDOM" > "$1/d$d/f$f"; done
  done
}`;

/** Everything that a directory entry can be, made outside the replicated directory as `$SOURCE`. */
export const SOURCE_TREE = `
mkdir -p deep/er empty 'with space' $'not\\xffutf8'
echo one > one; ln one deep/er/hard; ln one 'with space'/hard; ln -s ../one deep/soft; ln -s /nowhere dangling
head -c 300000 /dev/urandom > deep/er/random
mkfifo pipe; mknod device c 1 3; mknod block b 7 99
truncate -s 40M sparse; echo middle | dd of=sparse bs=1 seek=20M conv=notrunc status=none
chmod 4751 one; chmod 1777 empty; chown 1234:5678 deep/er/random; chown -h 12:34 dangling
touch -h -d '1965-03-04 05:06:07.123456789' deep/soft; touch -d '2001-02-03 04:05:06.000000001' deep/er
setfattr -n user.colour -v red one; setfattr -n user.none deep; setfattr -n trusted.secret -v 0x00ff one
setfacl -m u:1234:rw,g:5678:r one; setfacl -d -m u:1234:rwx deep
`;

/** By name; `$SOURCE` is where the tree of `SOURCE_TREE` lies. */
export const programs: Readonly<Record<string, string>> = {
  git: `${SMALL_TREE}
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
[ -e origin.git ] || { git init -q --bare -b main origin.git; git clone -q origin.git first 2>/dev/null; }
cd first
tree "work$RANDOM" 400
git add . && git commit -qm "many files" && git push -q origin HEAD:main
git rm -qr --ignore-unmatch 'work*/d1' && git mv "$(ls -d work*/d2 | head -1)" "moved$RANDOM" && git commit -qm "removed and moved"
git push -q origin HEAD:main && git gc -q && git fsck --full --strict
cd .. && rm -rf second && git clone -q origin.git second
git -C second fsck --full --strict && [ -z "$(git -C second status --porcelain)" ]
diff -r --exclude=.git first second
git -C origin.git gc -q --prune=now`,

  untar: `${SMALL_TREE}
rm -rf made; mkdir made; tree made/a 600; ln made/a/d1/f1 made/linked; ln -s a made/soft
tar -cf archive.tar made; rm -rf out; mkdir out; tar -C out -xpf archive.tar
diff -r --no-dereference made out/made
[ "$(stat -c %i out/made/linked)" = "$(stat -c %i out/made/a/d1/f1)" ]`,

  rsync: `rsync -aHAX --numeric-ids --sparse --delete "$SOURCE/" copy
[ -z "$(rsync -aHAXnic --numeric-ids --delete "$SOURCE/" copy)" ]
echo "$RANDOM" >> "$SOURCE/deep/er/random"; ln "$SOURCE/one" "$SOURCE/more$RANDOM"; rm -f "$SOURCE/dangling"
rsync -aHAX --numeric-ids --inplace --no-whole-file --delete "$SOURCE/" copy
[ -z "$(rsync -aHAXnic --numeric-ids --delete "$SOURCE/" copy)" ]
[ "$(stat -c %h copy/one)" = "$(stat -c %h "$SOURCE/one")" ]
[ "$(du -k --apparent-size copy/sparse | cut -f1)" -gt "$(($(du -k copy/sparse | cut -f1) * 4))" ]`,

  npm: `mkdir -p library application
echo '{"name":"library","version":"1.0.0","main":"index.js","bin":{"say":"say.js"}}' > library/package.json
echo 'module.exports = 42' > library/index.js
printf '#!/usr/bin/env node\\nconsole.log(require("."))\\n' > library/say.js; chmod 755 library/say.js
echo '{"name":"application","version":"1.0.0"}' > application/package.json
export npm_config_cache=$PWD/cache npm_config_audit=false npm_config_fund=false npm_config_offline=true npm_config_update_notifier=false
(cd library && npm pack --silent > /dev/null)
cd application && rm -rf node_modules && npm install --silent ../library/library-1.0.0.tgz
[ "$(node_modules/.bin/say)" = 42 ]
npm install --silent ../library && [ -L node_modules/library ] && [ "$(node -p 'require("library")')" = 42 ]`,

  sqlite: `for mode in delete wal; do
  sqlite3 $mode.db "pragma journal_mode=$mode; create table if not exists t (id integer primary key, x blob)" > /dev/null
  for i in $(seq 20); do echo "insert into t (x) values (randomblob(700));"; done | sqlite3 $mode.db
  { echo "begin;"; for i in $(seq 2000); do echo "insert into t (x) values (randomblob(300));"; done; echo "commit;"; } | sqlite3 $mode.db
  sqlite3 $mode.db "update t set x = randomblob(500) where id % 3 = 0; delete from t where id % 7 = 0; vacuum"
  [ "$(sqlite3 $mode.db 'pragma integrity_check')" = ok ]
done`,

  locks: LOCKS,

  stress: `for stressor in chmod:100 fallocate:20 rename:500 touch:200 utime:500 xattr:30; do
  name=\${stressor%:*}
  stress-ng --temp-path "$PWD" --verify --oomable --fallocate-bytes 16M --$name 1 --$name-ops \${stressor#*:} --timeout 30s --quiet
done`,

  fio: `common="--bssplit=512/20:4k/50:20k/20:128k/10 --size=12M --verify=crc32c --verify_fatal=1 --do_verify=1 --group_reporting"
fio --name=psync --ioengine=psync --rw=randwrite --fsync=64 $common > psync.log
fio --name=direct --ioengine=libaio --iodepth=16 --direct=1 --rw=randwrite $common > direct.log
fio --name=mmap --ioengine=mmap --rw=randwrite $common > mmap.log
fio --name=jobs --ioengine=psync --numjobs=3 --rw=randrw --overwrite=1 $common > jobs.log`,
};
