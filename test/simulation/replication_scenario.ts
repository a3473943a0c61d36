/**
 * Scenarios of the data path in text: commands, a line of dashes, and what happened, in words. n1 begins as primary, alone; n2 was equal to it.
 *
 *   create /f | mkdir /d | write /f 0 3 (block, count) | truncate /f 2 | fsync /f | rename /f /g | link /f /g | unlink /f
 *   connect | connect --full | copy 5 (rounds of the stream) | in-sync (until the copies are) | cut | alone | promote n2 | swap
 *   power n1 n2 (cut) | boot n1 | disk-error n2 (next fsync) | disk-full n2 | other-disk n2 | judge
 */
import { DT_DIR } from "../../core/replication/names.ts";
import { DT_REG, type Inode } from "./model_file_system.ts";
import { Dice } from "./replication_fate.ts";
import type { SimNode } from "./replication_node.ts";
import type { SourceRole } from "./replication_source.ts";
import { World } from "./replication_world.ts";

/** A reintegration of these few files never takes so many rounds. */
const MOST_ROUNDS = 5000;
/** Chance that the scenarios are told with: it decides what a power cut leaves of unsynced writes. */
const SEED = 1;

/** A scenario's world, and its words. */
export class DataScenario {
  readonly #world: World;

  constructor() {
    this.#world = new World({ random: new Dice(SEED).random, story: true });
  }

  /** Carries out one line; returns what happened. Throws on a line that it does not understand. */
  obey(line: string): string[] {
    const world = this.#world;
    const [verb = "", ...words] = line.trim().split(/\s+/);
    const told = world.story.length;
    world.time++;
    if (verb === "judge") return this.#judgement();
    this.#act(verb, words);
    world.checkEqual();
    return world.story.slice(told);
  }

  #act(verb: string, words: readonly string[]): void {
    const world = this.#world;
    const nodes = world.nodes.filter(({ name }) => words.includes(name));
    switch (verb) {
      case "connect":
        world.connect(words.includes("--full"));
        return;
      case "copy":
        for (let round = Number(words[0]); round > 0; round--) this.#round();
        return;
      case "in-sync":
        this.#untilInSync();
        return;
      case "cut":
        world.cut();
        return;
      case "alone":
        world.goAlone();
        return;
      case "swap":
        world.swap();
        return;
      case "power":
        world.crash(...nodes);
        return;
      case "boot":
        for (const node of nodes) world.restart(node);
        return;
      case "promote":
        for (const node of nodes) this.#promote(node);
        return;
      case "disk-error":
        for (const node of nodes) world.diskFails(node, "sync");
        return;
      case "disk-full":
        for (const node of nodes) world.diskFails(node, "full");
        return;
      case "other-disk":
        for (const node of nodes) world.replaceDisk(node);
        return;
      default:
        this.#application(verb, words);
    }
  }

  #promote(node: SimNode): void {
    if (this.#world.canPromote(node)) this.#world.promote(node);
    else this.#world.tell(() => `${node.name} refuses: its copy is ${node.record.consistency}`);
  }

  /** What the application does; it waits while a mark must reach the disk first. */
  #application(verb: string, [path = "", ...words]: readonly string[]): void {
    const world = this.#world;
    const source = world.source();
    if (source === null || source.phase === "held") {
      world.tell(() => "the application waits");
      return;
    }
    let done = false;
    for (let round = 0; !done && round < MOST_ROUNDS; round++) {
      world.application.attempt(source, () => {
        done = this.#operate(source, verb, path, words);
      });
      if (!done && !source.node.stepMarks()) return;
    }
  }

  #operate(source: SourceRole, verb: string, path: string, words: readonly string[]): boolean {
    const { application } = this.#world;
    const at = place(source, path);
    const number = (index: number) => Number(words[index]);
    if (verb === "create" || verb === "mkdir")
      return application.create(source, at.parent, at.name, verb === "mkdir" ? DT_DIR : DT_REG);
    const inode = source.node.fs.lookup(at.parent.id, at.name);
    if (inode === null) throw new Error(`scenario: there is no ${path}`);
    const named = { inode, ...at };
    const to = place(source, words[0]?.startsWith("/") ? words[0] : path);
    switch (verb) {
      case "write":
        return application.write(source, inode, number(0), number(1));
      case "truncate":
        return application.truncate(source, inode, number(0));
      case "fsync":
        application.sync(source, inode);
        return true;
      case "rename":
        return application.rename(source, named, to.parent, to.name, false);
      case "link":
        return application.link(source, named, to.parent, to.name);
      case "unlink":
        return application.unlink(source, named);
      default:
        throw new Error(`scenario: what is "${verb}"?`);
    }
  }

  /** Everybody does what is due, once. */
  #round(): void {
    const world = this.#world;
    world.time++;
    const source = world.source();
    if (source === null) return;
    source.node.stepMarks();
    world.link?.target.stepMarks();
    source.advance();
    world.toTarget();
    world.syncTarget();
    world.toSource();
    world.syncPoint(source);
    world.stepSyncs(source);
  }

  #untilInSync(): void {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      this.#round();
      const { link } = this.#world;
      if (link === null) return;
      if (link.toTarget.length === 0 && link.toSource.length === 0 && this.#world.checkEqual()) return;
    }
    throw new Error("scenario: the copies do not come together");
  }

  /** How the story ends. */
  #judgement(): string[] {
    const { nodes, history } = this.#world;
    const states = nodes.map((node) => {
      const { files, lacking } = history.told(node);
      const holds = lacking === 0 ? "holds all" : `lacks ${lacking}`;
      return `${node.name}  ${roleOf(node)}, its copy is ${node.record.consistency}; of ${files} files that the application was told are durable it ${holds}`;
    });
    const [a, b] = nodes.map(({ fs }) => fs.describe());
    return [...states, `the copies are ${a === b ? "equal" : "different"}`];
  }
}

function roleOf({ up, role }: SimNode): string {
  if (!up) return "no power";
  if (role === null) return "waits";
  return role.kind === "source" ? `primary (${role.phase})` : "secondary";
}

function place(source: SourceRole, path: string): { parent: Inode; name: string } {
  const cut = path.lastIndexOf("/");
  const directory = path.slice(0, cut) || "/";
  for (const { inode, path: found } of source.node.fs.paths())
    if (found === directory) return { parent: inode, name: path.slice(cut + 1) };
  throw new Error(`scenario: there is no directory ${directory}`);
}
