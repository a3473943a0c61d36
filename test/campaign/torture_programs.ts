/**
 * The programs of the torture, as scripts: each works in an empty directory of its own and fails by itself when something is wrong.
 * `$SOURCE` holds what `SOURCES` made outside the replicated directory, `$SECONDS_EACH` is how long a stressor runs.
 */
import { LOCKS, ownProgram, SOURCE_TREE } from "../cluster/programs.ts";

/**
 * Makes `$SOURCE` in the current directory, once; `$REPOSITORY` is this project. Needs npm's registry for what npm installs.
 * npm at times leaves the address of a package out of its lock file, without which nothing can be installed from the cache: it is asked again.
 */
export const SOURCES = `
tar -C "$REPOSITORY/node_modules" -cf many.tar typescript @types @tapjs tshy es-toolkit isomorphic-git hono
mkdir tree && cd tree
${SOURCE_TREE}
tar -xf ../many.tar && cp -al @tapjs linked && cp -al typescript/lib again
find hono -type f | awk 'NR <= 500' | xargs setfacl -m u:1234:rw,g:5678:r
find es-toolkit -type f | awk 'NR <= 500' | xargs setfattr -n user.origin -v torture
find tshy -type d | xargs setfacl -d -m u:4321:rx
cd .. && mkdir npm && cd npm
node -e 'const { dependencies, devDependencies } = require(process.env.REPOSITORY + "/package.json");
  const wanted = { ...dependencies, tap: devDependencies.tap, typescript: devDependencies.typescript };
  const text = JSON.stringify({ name: "torture", version: "1.0.0", dependencies: wanted });
  require("fs").writeFileSync("package.json", text)'
printf 'registry=%s\\nomit-lockfile-registry-resolved=false\\n' "$(npm config get registry)" > .npmrc
for again in yes yes no; do
  npm install --cache "$PWD/cache" --ignore-scripts --no-audit --no-fund --loglevel=error
  node -e 'const all = Object.entries(require("./package-lock.json").packages);
    const homeless = all.filter(([place, { resolved, inBundle }]) => place && !resolved && !inBundle).map(([place]) => place);
    if (homeless.length > 0) throw Error("npm wrote no address of " + homeless)' && break
  [ $again = yes ] && rm -r node_modules package-lock.json
done
`;

const NPM_QUIET = "--no-audit --no-fund --loglevel=error --ignore-scripts";
const FIO =
  "--size=96M --bssplit=512/10:4k/50:20k/20:128k/20 --verify=crc32c --verify_fatal=1 --do_verify=1 --group_reporting --output=/dev/null";
const FIO_DIRECT = FIO.replace("512/10:4k/50:20k/20", "4k/70:20k/10");

/** By name. */
export const programs: Readonly<Record<string, string>> = {
  git: `export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b.c
git init -q --bare -b main origin.git && git init -q -b main work && cd work && git remote add origin ../origin.git
tar -xf "$SOURCE/many.tar" && git add -f . && git commit -qm "thousands of files"
for round in 1 2 3; do
  git ls-files '*.ts' | awk "NR % 5 == $round" | xargs sed -i "1i // round $round"
  git mv hono/package.json "hono$round.json" && cp "hono$round.json" hono/package.json && git add -f hono/package.json
  git commit -qam "round $round" && git push -q origin main
done
cd .. && git clone -q --no-hardlinks origin.git clone && git -C clone fsck --full --strict
git -C clone gc -q --prune=now && git -C clone fsck --full --strict && [ -z "$(git -C clone status --porcelain)" ]
git clone -q origin.git linked && git -C origin.git repack -q -adf && git -C origin.git fsck --full --strict
diff -r --no-dereference --exclude=.git work clone && diff -r --no-dereference --exclude=.git work linked
git -C linked checkout -q HEAD~2 && git -C linked checkout -q main && [ -z "$(git -C linked status --porcelain)" ]`,

  untar: `for round in 1 2; do
  mkdir out$round && tar -C out$round -xpf "$SOURCE/many.tar" && tar -C out$round -df "$SOURCE/many.tar"
done
tar -cf again.tar out1 && tar -df again.tar && rm -r out1 && mv out2 out1 && tar -df again.tar`,

  rsync: `rsync -aHAX --numeric-ids --sparse "$SOURCE/tree/" one
[ -z "$(rsync -aHAXnic --numeric-ids --delete "$SOURCE/tree/" one)" ]
rsync -aHAX --numeric-ids one/ two && rm -r two/hono two/deep && chmod -R g-w two/tshy && find two/es-toolkit -name '*.js' | awk 'NR <= 50' | xargs sed -i '1i //'
rsync -aHAX --numeric-ids --inplace --no-whole-file --delete one/ two
[ -z "$(rsync -aHAXnic --numeric-ids --delete one/ two)" ]
rsync -aHAX --numeric-ids --delete --link-dest="$PWD/one" one/ three && [ "$(stat -c %i one/tshy/package.json)" = "$(stat -c %i three/tshy/package.json)" ]`,

  npm: `cp "$SOURCE"/npm/{package.json,package-lock.json,.npmrc} . && cp -r "$SOURCE/npm/cache" cache
npm ci --offline --cache "$PWD/cache" ${NPM_QUIET} && npm ls --all > /dev/null
diff -r --no-dereference --exclude=.package-lock.json node_modules "$SOURCE/npm/node_modules"
rm -r node_modules && npm ci --offline --cache "$PWD/cache" ${NPM_QUIET}
diff -r --no-dereference --exclude=.package-lock.json node_modules "$SOURCE/npm/node_modules"
npm cache verify --cache "$PWD/cache" > /dev/null`,

  fio: `fio --name=psync --ioengine=psync --rw=randwrite --fsync=32 ${FIO}
fio --name=sequential --ioengine=psync --rw=write --end_fsync=1 ${FIO}
fio --name=direct --ioengine=libaio --iodepth=16 --direct=1 --rw=randwrite ${FIO_DIRECT}
fio --name=aio --ioengine=libaio --iodepth=16 --rw=randrw --overwrite=1 ${FIO}
fio --name=vectors --ioengine=pvsync2 --rw=randwrite --fdatasync=16 ${FIO}
fio --name=mmap --ioengine=mmap --rw=randwrite ${FIO}
fio --name=jobs --ioengine=psync --numjobs=4 --rw=randrw --overwrite=1 ${FIO}`,

  locks: LOCKS,

  mapped: `${ownProgram("programs_mapped.ts")} write "$PWD/pages" > numbers & sleep 2; kill -9 $! ; wait $! || true
last=$(grep -c . numbers) && [ "$last" -gt 100 ] && ${ownProgram("programs_mapped.ts")} check "$PWD/pages" $((last - 1))`,
};

/** Stressors of the class filesystem that are left out, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  "bind-mount": "mounts, and touches no file below its directory",
  binderfs: "mounts another file system",
  dup: "duplicates descriptors of /dev/zero",
  eventfd: "uses no file",
  fiemap: "FIEMAP does not exist in FUSE",
  procfs: "reads /proc",
  verity: "fs-verity does not exist in FUSE, nor in an ext4 that is made without it",
};
/** Stressors of other classes that work on files. */
const OTHERS = ["aio", "aiol", "mmap", "msync", "readahead", "revio", "seek", "sendfile", "splice"];
/** So that many fit on a small disk. */
const SMALLER: Readonly<Record<string, string>> = {
  "copy-file": "--copy-file-bytes 128M",
  fallocate: "--fallocate-bytes 16M",
  hdd: "--hdd-bytes 16M",
  iomix: "--iomix-bytes 16M",
  mmap: "--mmap-file --mmap-bytes 16M",
  readahead: "--readahead-bytes 16M",
  revio: "--revio-bytes 16M",
  seek: "--seek-size 16M",
  "sync-file": "--sync-file-bytes 16M",
};

/** A program for each stressor that this machine's stress-ng has; and those left out, in words. */
export function stressors(): { programs: Record<string, string>; leftOut: string[] } {
  const { stdout, stderr } = Bun.spawnSync(["stress-ng", "--class", "filesystem?"]);
  const [, list = ""] = /stressors: (.*)/.exec(`${stdout}${stderr}`) ?? [];
  const names = list.split(" ").filter(Boolean);
  const run = [...names.filter((name) => LEFT_OUT[name] === undefined), ...OTHERS];
  const stress = (name: string): string =>
    `timeout -k 5 120 stress-ng --temp-path "$PWD" --${name} 2 --timeout "$SECONDS_EACH" --verify --oomable ${SMALLER[name] ?? ""}`;
  return {
    programs: Object.fromEntries(run.map((name) => [`stress-${name}`, stress(name)])),
    leftOut: names.flatMap((name) => (LEFT_OUT[name] === undefined ? [] : [`${name}: ${LEFT_OUT[name]}`])),
  };
}
