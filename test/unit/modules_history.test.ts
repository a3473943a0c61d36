/** A module's git repository: plain git agrees with it, reads its bundles and merges as it does, and no edit is ever lost. */
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  ACTIVE,
  BundleInvalid,
  bringTo,
  commitDirectory,
  diffFiles,
  MAIN,
  mergeIn,
  noteApplied,
  Repository,
  readBundle,
  readFiles,
  writeBundle,
} from "../../modules/history/history.ts";
import { writeFiles } from "../fixtures/scratch.ts";
import { commit, git, hook, made, me, noGit, root, yaml } from "./module_repository.ts";

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
  writeFiles(directory, { "lib/deep/er/x.ts": "export const x = 2;\n" });
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
  writeFiles(directory, { "module.yaml": `${yaml}boot: never\n` });
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
    writeFiles(directory, { file: to });
    const patch = diffFiles(await repository.files(first), readFiles(directory));
    git(directory, "checkout", "-q", "--", ".");
    writeFiles(root, { patch });
    git(directory, "apply", join(root, "patch"));
    t.equal(readFileSync(join(directory, "file"), "utf8"), to, `case ${index}`);
  }
});

t.test("edits stay: a directory is brought to a revision only where nothing is being edited", async (t) => {
  const { directory, repository, first } = await made("edits", { "module.yaml": yaml, old: "1" });
  writeFiles(directory, { "module.yaml": `${yaml}boot: never\n`, "new": "1" });
  rmSync(join(directory, "old"));
  const second = await commit(repository, "Second");
  t.equal(await bringTo(repository, second), "", "the files are that revision");
  t.equal(await bringTo(repository, first), "they are based on what was never applied", "never backwards");
  const back = await repository.commit(await repository.treeOf(first), [second], "Back", me);
  writeFiles(directory, { note: "mine" });
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
    const plain = writeFiles(join(root, "plain-directory"), { "module.yaml": `${yaml}boot: never\n` });
    const one = await commitDirectory(repository, plain, first, "One", me);
    t.match(one, { isNew: true, isBaseless: true });
    noteApplied(plain, one.commit);
    const moved = await repository.commit(await repository.treeOf(first), [one.commit], "Elsewhere", me);
    writeFiles(plain, { "module.yaml": `${yaml}boot: always\n` });
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
  writeFiles(directory, { list: lines("A", "b", "c", "d", "e") });
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
  writeFiles(directory, { list: lines("mine", "b", "c", "d", "E") });
  t.match(await mergeIn(repository, clash, "Upgrade", me), { how: "conflict", conflicts: ["list"] });
  const text = readFileSync(join(directory, "list"), "utf8");
  t.match(text, /^<{7} .*\nmine\n={7}\ntheirs\n>{7} /);
  if (noGit === false) t.match(git(directory, "status"), /You have unmerged paths|both modified/);
  await t.rejects(commit(repository, "unsolved"), {
    message: /^list:1:1: a conflict of a merge is not solved/,
  });
  await t.rejects(mergeIn(repository, clash, "twice", me), { message: /a merge is under way/ });
  writeFiles(directory, { list: lines("both", "b", "c", "d", "E") });
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
    writeFiles(join(root, "cloned"), { "lib/long": `${"the same line again\n".repeat(500)}${i}\n` });
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
