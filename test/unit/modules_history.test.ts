/** A module's git repository: plain git agrees with it, what is hostile does not come in, and no edit is ever lost. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t, { type Test } from "tap";
import {
  ACTIVE,
  BundleInvalid,
  bringTo,
  commitDirectory,
  diffFiles,
  fetchTemplate,
  HistoryMissing,
  MAIN,
  mergeIn,
  noteApplied,
  prepareRevision,
  Repository,
  readBundle,
  readFiles,
  revisionDirectory,
  writeBundle,
} from "../../modules/history/history.ts";
import { blobId } from "../../modules/history/module_files.ts";
import { ModuleInvalid } from "../../modules/mod.ts";

const root = mkdtempSync(join(tmpdir(), `holdfast-history-${process.pid}-`));
t.teardown(() => rmSync(root, { recursive: true }));

const yaml = "kind: mirror\nreplicate: { paths: [{ path: /srv/a }] }\n";
const hook = `export default async () => { console.log("hook"); };\n`;
const me = { name: "tester", email: "tester@example.com" };
const names = { nodes: ["n1", "n2"], lans: ["lan"] };
const noGit = Bun.which("git") === null ? "plain git is not installed here" : false;

/** Runs plain git; returns what it prints. */
function git(directory: string, ...args: string[]): string {
  const settings = ["-c", "user.name=plain", "-c", "user.email=plain@example.com"];
  const { status, stdout, stderr } = spawnSync("git", [...settings, ...args], {
    cwd: directory,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout.trim();
}

function write(directory: string, files: Record<string, string>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), content);
  }
  return directory;
}

/** A module's directory with a repository and one revision, applied. */
async function made(name: string, files: Record<string, string> = { "module.yaml": yaml }) {
  const directory = write(join(root, name), files);
  const repository = await Repository.make(directory);
  const first = (await commitDirectory(repository, directory, null, "First", me)).commit;
  await repository.setRef(ACTIVE, first);
  t.equal(await bringTo(repository, first), "");
  return { directory, repository, first };
}

async function commit(repository: Repository, message: string): Promise<string> {
  return (await commitDirectory(repository, repository.directory, null, message, me)).commit;
}

t.test("plain git agrees with the repository", { skip: noGit }, async (t) => {
  const { directory, repository, first } = await made("plain", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": hook,
    "hooks/stop_prim": "#!/bin/sh\nexit 0\n",
    "lib/deep/er/x.ts": "export const x = 1;\n",
    "a.b": "1",
    "a/b": "1",
    a0: "1",
  });
  chmodSync(join(directory, "hooks/stop_prim"), 0o755);
  t.equal(git(directory, "status", "--porcelain"), "");
  t.equal(git(directory, "rev-parse", "HEAD"), first);
  t.equal(git(directory, "log", "--format=%an %s"), "tester First");
  git(directory, "fsck", "--strict");
  write(directory, { "lib/deep/er/x.ts": "export const x = 2;\n" });
  git(directory, "commit", "-qam", "by plain git");
  const own = await commitDirectory(repository, directory, first, "unused", me);
  t.same(
    own,
    { commit: git(directory, "rev-parse", "HEAD"), isNew: false, isBaseless: false },
    "its commit is taken as it is",
  );
  git(directory, "gc", "-q");
  git(directory, "pack-refs", "--all");
  t.equal(await repository.find(ACTIVE), first, "refs that git has packed are read");
  await repository.setRef(ACTIVE, own.commit);
  t.equal(git(directory, "rev-parse", ACTIVE), own.commit, "and moved");
  t.equal(await repository.find(first.slice(0, 7)), first, "an abbreviation");
  t.equal(await repository.find("no-such"), null);
  write(directory, { "module.yaml": `${yaml}boot: never\n` });
  t.equal(
    git(directory, "diff").replace(/^index .*\n/m, ""),
    diffFiles(await repository.files(own.commit), readFiles(directory)).trimEnd(),
  );
});

t.test("diffs are patches that plain git applies", { skip: noGit }, async (t) => {
  const numbers = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => `line ${from + i}\n`).join("");
  const cases: [string, string][] = [
    ["", "new\n"],
    ["old\n", ""],
    [numbers(0, 50), `${numbers(0, 10)}inserted\n${numbers(10, 50)}`],
    [numbers(0, 50), `${numbers(0, 20)}${numbers(23, 40)}x\n${numbers(42, 50)}`],
    ["no end", "no end\n"],
    [numbers(0, 5), `${numbers(0, 5)}tail without end`],
    [numbers(0, 400), numbers(200, 600)],
  ];
  for (const [index, [from, to]] of cases.entries()) {
    const { directory, repository, first } = await made(`diff${index}`, {
      "module.yaml": yaml,
      file: from,
      same: "1",
    });
    write(directory, { file: to });
    const patch = diffFiles(await repository.files(first), readFiles(directory));
    git(directory, "checkout", "-q", "--", ".");
    write(root, { patch });
    git(directory, "apply", join(root, "patch"));
    t.equal(readFileSync(join(directory, "file"), "utf8"), to, `case ${index}`);
  }
});

t.test(
  "a revision is handed over with just what the other lacks, and laid down whole or not at all",
  async (t) => {
    const { directory, repository, first } = await made("from", {
      "module.yaml": yaml,
      "hooks/stop_prim": "#!/bin/sh\n",
      "lib/big": "x".repeat(200_000),
    });
    const varDir = join(root, "other");
    const whole = await repository.pack(await repository.objectsBetween([first], []));
    await t.rejects(
      prepareRevision(varDir, "db", first, null, names),
      HistoryMissing,
      "nothing is there yet",
    );
    const one = await prepareRevision(varDir, "db", first, whole, names);
    t.match(one, { relation: "first", active: null, changes: [] });
    const laid = revisionDirectory(varDir, "db", first);
    t.same(readdirSync(laid).sort(), [".holdfast", "hooks", "lib", "module.yaml"]);
    t.same([...readFiles(laid)], [...readFiles(directory)], "files and modes");
    const theirs = Repository.at(join(varDir, "modules/db"))!;
    await theirs.setRef(ACTIVE, first);

    write(directory, { "module.yaml": `${yaml}boot: never\n` });
    const second = await commit(repository, "Second");
    const thin = await repository.pack(await repository.objectsBetween([second], [first]));
    t.ok(thin.length < 2000, `${thin.length} bytes for one line`);
    t.match(await prepareRevision(varDir, "db", second, thin, names), {
      relation: "newer",
      active: first,
      changes: [{ what: "boot", how: "live" }],
    });
    await theirs.setRef(ACTIVE, second);
    t.match(await prepareRevision(varDir, "db", first, null, names), { relation: "older" });
    t.match(await prepareRevision(varDir, "db", second, null, names), { relation: "same" });
    const apart = await repository.commit(await repository.treeOf(first), [first], "Apart", me);
    const other = await repository.pack(await repository.objectsBetween([apart], [first]));
    t.match(await prepareRevision(varDir, "db", apart, other, names), { relation: "apart" });

    write(directory, { "module.yaml": "kind: mirrored\n" });
    const bad = await commit(repository, "Bad");
    const badPack = await repository.pack(await repository.objectsBetween([bad], [second]));
    await t.rejects(prepareRevision(varDir, "db", bad, badPack, names), ModuleInvalid);
    t.notOk(existsSync(revisionDirectory(varDir, "db", bad)), "nothing of it is laid down");
    t.equal(await theirs.find(ACTIVE), second);
    const damaged = Buffer.from(whole);
    damaged[60] = damaged[60]! ^ 1;
    await t.rejects(prepareRevision(join(root, "damaged"), "db", first, damaged, names));
  },
);

t.test("what a power cut has damaged is mended by what is handed over", async (t) => {
  const { directory, repository, first } = await made("damaged-source");
  const varDir = join(root, "damaged-node");
  const place = write(join(varDir, "modules/db"), {});
  mkdirSync(place, { recursive: true });
  const theirs = await Repository.make(place);
  write(place, { "module.yaml": yaml });
  await commit(theirs, "the same content, made here");
  const blob = blobId(Buffer.from(yaml));
  writeFileSync(join(place, ".git/objects", blob.slice(0, 2), blob.slice(2)), "");
  await t.rejects(prepareRevision(varDir, "db", first, null, names), HistoryMissing);
  const whole = await repository.pack(await repository.objectsBetween([first], []));
  t.match(await prepareRevision(varDir, "db", first, whole, names), { relation: "first" });
  t.equal(readFileSync(join(revisionDirectory(varDir, "db", first), "module.yaml"), "utf8"), yaml);
  t.ok(existsSync(directory));
});

t.test("what no module may hold does not come in, from a directory or from a commit", async (t) => {
  const { directory, repository } = await made("hostile");
  symlinkSync("/etc/shadow", join(directory, "secret"));
  await t.rejects(commit(repository, "link"), { message: /^secret:1:1: is a symbolic link/ });
  rmSync(join(directory, "secret"));
  write(directory, { "lib/data": "x".repeat(33 * 1024 * 1024) });
  await t.rejects(commit(repository, "big"), { message: /larger than 32 MiB/ });
  rmSync(join(directory, "lib"), { recursive: true });
  write(directory, { "node_modules/p/i.js": "1" });
  mkdirSync(join(directory, "node_modules/.bin"));
  symlinkSync("../p/i.js", join(directory, "node_modules/.bin/p"));
  t.same(new Set(readFiles(directory).keys()), new Set(["module.yaml", "node_modules/p/i.js"]));
  const file = { content: Buffer.from("x"), executable: false };
  const paths = [
    "../evil",
    "a/../../evil",
    "./a",
    ".git/hooks/post-commit",
    ".GIT/config",
    "lib/.git./x",
    "git~1/x",
    ".holdfast/mod.ts",
    "a\\b",
    "a\nb",
    `${"d/".repeat(300)}x`,
  ];
  for (const path of paths) {
    const tree = await repository
      .writeTree(
        new Map([
          ["module.yaml", file],
          [path, file],
        ]),
      )
      .catch(() => null);
    if (tree === null) continue;
    const hostile = await repository.commit(tree, [], "hostile", me);
    // What the library does not even read here, another program may well have packed.
    const objects = await repository
      .objectsBetween([hostile], [])
      .catch(() => [hostile, tree, blobId(file.content)]);
    const pack = await repository.pack(objects);
    await t.rejects(prepareRevision(join(root, "victim"), "db", hostile, pack, names), path.slice(0, 40));
    t.notOk(existsSync(revisionDirectory(join(root, "victim"), "db", hostile)));
  }
  t.notOk(existsSync(join(root, "evil")));
  t.notOk(existsSync(join(root, "victim/state/evil")));
});

t.test("edits stay: a directory is brought to a revision only where nothing is being edited", async (t) => {
  const { directory, repository, first } = await made("edits", { "module.yaml": yaml, old: "1" });
  write(directory, { "module.yaml": `${yaml}boot: never\n`, "new": "1" });
  rmSync(join(directory, "old"));
  const second = await commit(repository, "Second");
  t.equal(await bringTo(repository, second), "", "the files are that revision");
  t.equal(await bringTo(repository, first), "they are based on what was never applied", "never backwards");
  const back = await repository.commit(await repository.treeOf(first), [second], "Back", me);
  write(directory, { note: "mine" });
  t.equal(await bringTo(repository, back), "they are being edited");
  t.equal(readFileSync(join(directory, "note"), "utf8"), "mine");
  rmSync(join(directory, "note"));
  t.equal(await bringTo(repository, back), "");
  t.same(
    new Set(readdirSync(directory).filter((name) => !name.startsWith("."))),
    new Set(["module.yaml", "old"]),
  );
  if (noGit === false) t.equal(git(directory, "status", "--porcelain"), "");
});

t.test(
  "a plain directory remembers what it was applied as; a clone of any repository brings its history",
  async (t) => {
    const { repository, first } = await made("store");
    const plain = write(join(root, "plain-directory"), { "module.yaml": `${yaml}boot: never\n` });
    const one = await commitDirectory(repository, plain, first, "One", me);
    t.match(one, { isNew: true, isBaseless: true });
    noteApplied(plain, one.commit);
    const moved = await repository.commit(await repository.treeOf(first), [one.commit], "Elsewhere", me);
    write(plain, { "module.yaml": `${yaml}boot: always\n` });
    const two = await commitDirectory(repository, plain, moved, "Two", me);
    t.match(two, { isNew: true, isBaseless: false });
    t.notOk(await repository.contains(two.commit, moved), "so that it is refused where another has moved on");
    const { directory, first: foreign } = await made("foreign", { "module.yaml": yaml, x: "1" });
    t.same(await commitDirectory(repository, directory, first, "", me), {
      commit: foreign,
      isNew: false,
      isBaseless: false,
    });
    t.ok(await repository.has(foreign));
  },
);

t.test("merges are as git makes them", async (t) => {
  const lines = (...names: string[]) => names.map((name) => `${name}\n`).join("");
  const { directory, repository, first } = await made("merge", {
    "module.yaml": yaml,
    list: lines("a", "b", "c", "d", "e"),
    gone: "1",
  });
  const other = await made("merge-template", {
    "module.yaml": yaml,
    list: lines("a", "b", "c", "d", "E"),
    extra: "1",
  });
  const theirs = (await commitDirectory(repository, other.directory, first, "Template", me)).commit;
  noteApplied(other.directory, first);
  const template = await repository.commit(await repository.treeOf(theirs), [first], "Newer template", me);
  write(directory, { list: lines("A", "b", "c", "d", "e") });
  const merged = await mergeIn(repository, template, "Upgrade", me);
  t.match(merged, { how: "merged", conflicts: [] });
  t.ok(merged.edits, "what was being edited is in the history");
  t.equal(readFileSync(join(directory, "list"), "utf8"), lines("A", "b", "c", "d", "E"));
  t.ok(existsSync(join(directory, "extra")));
  t.notOk(existsSync(join(directory, "gone")), "removed there, untouched here");
  t.match(await mergeIn(repository, template, "again", me), { how: "already" });

  const base = (await repository.head())!;
  const files = await repository.files(base);
  files.set("list", { content: Buffer.from(lines("theirs", "b", "c", "d", "E")), executable: false });
  const clash = await repository.commit(await repository.writeTree(files), [base], "Clash", me);
  write(directory, { list: lines("mine", "b", "c", "d", "E") });
  t.match(await mergeIn(repository, clash, "Upgrade", me), { how: "conflict", conflicts: ["list"] });
  const text = readFileSync(join(directory, "list"), "utf8");
  t.match(text, /^<{7} .*\nmine\n={7}\ntheirs\n>{7} /);
  if (noGit === false) t.match(git(directory, "status"), /You have unmerged paths|both modified/);
  await t.rejects(commit(repository, "unsolved"), {
    message: /^list:1:1: a conflict of a merge is not solved/,
  });
  await t.rejects(mergeIn(repository, clash, "twice", me), { message: /a merge is under way/ });
  write(directory, { list: lines("both", "b", "c", "d", "E") });
  const solved = await commit(repository, "Solved");
  t.ok(await repository.contains(solved, clash), "the merge is in its past");
  await repository.setRef(ACTIVE, solved);
  t.equal(await bringTo(repository, solved), "");
  t.equal(await repository.merging(), null, "the merge is over");
});

t.test(".hf files are bundles that git makes and reads", { skip: noGit }, async (t) => {
  const { directory, repository, first } = await made("bundle", {
    "module.yaml": yaml,
    "hooks/stop_prim": "#!/bin/sh\n",
  });
  const file = join(root, "bundle.hf");
  writeFileSync(file, await writeBundle(repository, { HEAD: first, [MAIN]: first }));
  t.match(git(directory, "bundle", "verify", file), /records a complete history/);
  git(root, "clone", "-q", file, "cloned");
  t.same([...readFiles(join(root, "cloned"))], [...readFiles(directory)]);
  for (let i = 0; i < 30; i++) {
    write(join(root, "cloned"), { "lib/long": `${"the same line again\n".repeat(500)}${i}\n` });
    git(join(root, "cloned"), "add", "-A");
    git(join(root, "cloned"), "commit", "-qm", `${i}`);
  }
  git(join(root, "cloned"), "gc", "-q");
  git(join(root, "cloned"), "bundle", "create", "-q", "../git.hf", "HEAD", "main");
  const bundle = readBundle(readFileSync(join(root, "git.hf")));
  const copy = await Repository.make(join(root, "copy"));
  await copy.storePack(bundle.pack);
  t.equal((await copy.revisions(bundle.refs[MAIN]!)).length, 31, "deltas and all");
  t.match((await copy.files(bundle.refs[MAIN]!)).get("lib/long")!.content.toString(), /\n29\n$/);
  git(join(root, "cloned"), "bundle", "create", "-q", "../part.hf", "HEAD~1..HEAD");
  for (const bytes of [
    Buffer.from("nothing"),
    readFileSync(join(root, "part.hf")),
    readFileSync(file).subarray(0, 60),
    Buffer.alloc(1000),
  ])
    t.throws(() => readBundle(bytes), BundleInvalid);
});

t.test(
  "templates from a git repository over http, from a bare one here, and from a folder",
  { skip: noGit },
  async (t) => {
    const { directory: origin, first } = await made("origin", {
      "module.yaml": yaml,
      "hooks/start_prim.ts": hook,
    });
    git(root, "clone", "-q", "--bare", origin, "served.git");
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: gitOverHttp });
    t.teardown(() => server.stop(true));
    const into = await Repository.make(join(root, "into"));
    t.equal(await fetchTemplate(into, `http://127.0.0.1:${server.port}/served.git`, null, me), first);
    t.equal((await into.files(first)).size, 2);
    await t.rejects(fetchTemplate(into, `http://127.0.0.1:${server.port}/none.git`, null, me), {
      message: /none\.git cannot be cloned: /,
    });
    const bare = await Repository.make(join(root, "into-bare"));
    t.equal(await fetchTemplate(bare, join(root, "served.git"), null, me), first);
    const folder = write(join(root, "folder"), { "module.yaml": yaml });
    const one = await fetchTemplate(bare, folder, null, me);
    t.equal(await fetchTemplate(bare, folder, one, me), one, "unchanged");
    write(folder, { more: "1" });
    t.ok(await bare.contains(await fetchTemplate(bare, folder, one, me), one), "a newer one comes after it");
    await t.rejects(fetchTemplate(bare, join(root, "not-there"), null, me), { message: /is no directory/ });
    await t.rejects(fetchTemplate(bare, "ssh://nobody@127.0.0.1:1/x.git", null, me), {
      message: /^ssh:.* cannot be cloned: /,
    });
  },
);

t.test(
  "a template on an https server of one's own authority, and its newer version",
  { skip: noGit },
  async (t) => {
    const { directory: origin, first } = await made("secured", {
      "module.yaml": yaml,
      "hooks/start_prim.ts": hook,
    });
    git(root, "clone", "-q", "--bare", origin, "secured.git");
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(root, name)) as [string, string];
    const openssl = spawnSync(
      "openssl",
      [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ].concat(["-subj", "/CN=git", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]),
    );
    t.equal(openssl.status, 0, String(openssl.stderr));
    const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", tls, fetch: gitOverHttp });
    const before = process.env["SSL_CERT_FILE"];
    t.teardown(async () => {
      await server.stop(true);
      if (before === undefined) delete process.env["SSL_CERT_FILE"];
      else process.env["SSL_CERT_FILE"] = before;
    });
    const url = `https://127.0.0.1:${server.port}/secured.git`;
    const module = await Repository.make(join(root, "from-https"));
    await t.rejects(fetchTemplate(module, url, null, me), {
      message: /secured\.git cannot be cloned: .*certificate/i,
    });
    process.env["SSL_CERT_FILE"] = cert;
    await upgraded(t, module, url, first, join(root, "secured.git"));
  },
);

const sshd = Bun.which("sshd", { PATH: "/usr/sbin:/usr/local/sbin" });
const noSshd =
  noGit || (sshd === null ? "NOT TRIED over ssh: there is no sshd here (package openssh-server)" : false);

t.test("a template over ssh, by the system's git", { skip: noSshd }, async (t) => {
  const { directory: origin, first } = await made("over-ssh", {
    "module.yaml": yaml,
    "hooks/start_prim.ts": hook,
  });
  git(root, "clone", "-q", "--bare", origin, "over-ssh.git");
  for (const name of ["host_key", "user_key"])
    t.equal(spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(root, name)]).status, 0);
  const port = 30_000 + (process.pid % 20_000);
  const settings = [
    `Port=${port}`,
    "ListenAddress=127.0.0.1",
    `HostKey=${join(root, "host_key")}`,
    "UsePAM=no",
    "PidFile=none",
  ].concat([
    `AuthorizedKeysFile=${join(root, "user_key.pub")}`,
    "StrictModes=no",
    "PasswordAuthentication=no",
  ]);
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const server = Bun.spawn(
    [sshd!, "-D", "-e", "-f", "/dev/null", ...settings.flatMap((one) => ["-o", one])],
    {
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const known = join(root, "known_hosts");
  writeFileSync(known, `[127.0.0.1]:${port} ${readFileSync(join(root, "host_key.pub"), "utf8")}`);
  const before = process.env["GIT_SSH_COMMAND"];
  process.env["GIT_SSH_COMMAND"] =
    `ssh -o BatchMode=yes -o IdentitiesOnly=yes -i ${join(root, "user_key")} -o UserKnownHostsFile=${known}`;
  t.teardown(async () => {
    server.kill();
    await server.exited;
    if (before === undefined) delete process.env["GIT_SSH_COMMAND"];
    else process.env["GIT_SSH_COMMAND"] = before;
  });
  const isUp = () =>
    Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => undefined } }).then(
      (socket) => socket.end(),
      () => null,
    );
  for (let tries = 0; tries < 100 && (await isUp()) === null; tries++) await Bun.sleep(20);
  const module = await Repository.make(join(root, "from-ssh"));
  const user = spawnSync("id", ["-un"], { encoding: "utf8" }).stdout.trim();
  const url = `ssh://${user}@127.0.0.1:${port}${join(root, "over-ssh.git")}`;
  await upgraded(t, module, url, first, join(root, "over-ssh.git"));
});

/** The template comes, is changed where it lies, and its newer version is merged into the module. */
async function upgraded(
  t: Test,
  module: Repository,
  url: string,
  first: string,
  served: string,
): Promise<void> {
  t.equal(await fetchTemplate(module, url, null, me), first);
  await module.setRef(MAIN, first);
  await module.checkOutMain();
  write(module.directory, { "own.txt": "mine" });
  const work = mkdtempSync(join(root, "work-"));
  git(root, "clone", "-q", served, work);
  write(work, { "hooks/stop_prim.ts": hook });
  git(work, "add", "-A");
  git(work, "commit", "-qm", "Newer");
  git(work, "push", "-q");
  const newer = await fetchTemplate(module, url, first, me);
  t.equal(newer, git(work, "rev-parse", "HEAD"));
  t.match(await mergeIn(module, newer, "Upgrade", me), { how: /merged|forward/ });
  t.same(
    [...readFiles(module.directory).keys()],
    ["hooks/start_prim.ts", "hooks/stop_prim.ts", "module.yaml", "own.txt"],
  );
}

/** The "smart" protocol, by git's own program: see git-http-backend(1). */
async function gitOverHttp(request: Request): Promise<Response> {
  const url = new URL(request.url);
  const backend = Bun.spawn(["git", "http-backend"], {
    env: {
      ...process.env,
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      REQUEST_METHOD: request.method,
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers.get("content-type") ?? "",
      REMOTE_ADDR: "127.0.0.1",
    },
    stdin: await request.arrayBuffer().then((body) => new Uint8Array(body)),
    stdout: "pipe",
    stderr: "ignore",
  });
  const output = Buffer.from(await new Response(backend.stdout).arrayBuffer());
  const end = output.indexOf("\r\n\r\n");
  const headers = new Headers();
  for (const line of output.subarray(0, end).toString().split("\r\n")) {
    const [name, value] = line.split(": ") as [string, string];
    headers.set(name, value);
  }
  const status = Number((headers.get("status") ?? "200").slice(0, 3));
  headers.delete("status");
  return new Response(output.subarray(end + 4), { status, headers });
}
