/** A revision on its way to another node: just what that lacks, whole or not at all, and nothing hostile. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  ACTIVE,
  HistoryMissing,
  prepareRevision,
  Repository,
  readFiles,
  revisionDirectory,
} from "../../modules/history/history.ts";
import { blobId } from "../../modules/history/module_files.ts";
import { ModuleInvalid } from "../../modules/mod.ts";
import { writeFiles } from "../fixtures/scratch.ts";
import { commit, made, me, root, yaml } from "./module_repository.ts";

const names = { nodes: ["n1", "n2"], lans: ["lan"] };

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

    writeFiles(directory, { "module.yaml": `${yaml}boot: never\n` });
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

    writeFiles(directory, { "module.yaml": "kind: mirrored\n" });
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
  const place = writeFiles(join(varDir, "modules/db"), {});
  mkdirSync(place, { recursive: true });
  const theirs = await Repository.make(place);
  writeFiles(place, { "module.yaml": yaml });
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
  writeFiles(directory, { "lib/data": "x".repeat(33 * 1024 * 1024) });
  await t.rejects(commit(repository, "big"), { message: /larger than 32 MiB/ });
  rmSync(join(directory, "lib"), { recursive: true });
  writeFiles(directory, { "node_modules/p/i.js": "1" });
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
