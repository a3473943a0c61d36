/** What befalls two nodes, carried out: each misfortune and each command of a schedule, when its time has come. */
import type { Fault } from "./failover_faults.ts";
import { LANS, type LanName } from "./failover_network.ts";
import type { SimNode } from "./failover_node.ts";
import { faultInShort, weatherInWords } from "./failover_words.ts";
import type { World } from "./failover_world.ts";

const FLAP_PERIOD = 700;
/** How long a word of a person may take to the other node, ms. */
const HEARD_WITHIN = 3000;

/** Lets it happen, now. */
export function strike(world: World, fault: Fault): void {
  const node = world.nodes[fault.node];
  const { clock } = world;
  switch (fault.do) {
    case "crash":
      crash(world, node, fault.off);
      return;
    case "crash both":
      crash(world, node, fault.off);
      clock.after(fault.apart, () => crash(world, node.peer(), fault.otherOff));
      return;
    case "crash at an effect":
      node.crashAfter(fault.effects, () => clock.after(fault.off, () => node.boot()));
      return;
    case "command":
      node.command(fault.command, "admin", fault.by);
      return;
    case "daemon killed":
      node.killDaemon(fault.adopts);
      return;
    case "daemon stopped":
      node.stopDaemon(fault.ms);
      return;
    case "stun":
      node.stun(fault.ms, fault.seen);
      return;
    case "pace":
      world.tell(`the clock of ${node.name} goes ${((fault.rate - 1) * 100).toFixed(1)} % fast`);
      node.time.setRate(fault.rate);
      return;
    case "wall clock":
      world.tell(`the wall clock of ${node.name} jumps by ${(fault.by / 3_600_000).toFixed(1)} h`);
      node.time.wallOffset += fault.by;
      return;
    case "cut":
      cut(world, fault.lans, fault.from, fault.ms);
      return;
    case "flap":
      for (const [index, ms] of fault.times.entries())
        clock.after(index * FLAP_PERIOD, () => cut(world, LANS, [0, 1], ms));
      return;
    case "weather":
      world.tell(`the network: ${weatherInWords(fault)}`);
      Object.assign(world.network, { loss: fault.loss, repeat: fault.repeat, straggler: fault.straggler });
      return;
    default:
      fail(world, node, fault);
  }
}

function fail(world: World, node: SimNode, fault: Fault): void {
  const { clock } = world;
  switch (fault.do) {
    case "hook fails":
      world.tell(`${fault.hook} fails on ${node.name} for a while`);
      node.hooks.failing.add(fault.hook);
      clock.after(fault.ms, () => node.hooks.failing.delete(fault.hook));
      return;
    case "hooks are slow":
      world.tell(faultInShort(fault, node.name));
      node.hooks.slowness = fault.factor;
      clock.after(fault.ms, () => {
        node.hooks.slowness = 1;
      });
      return;
    case "maintenance":
      maintain(world, node, true);
      clock.after(fault.ms, () => maintain(world, node, false));
      return;
    case "process dies":
      if (node.up) node.killProcess();
      return;
    case "disk fails":
      if (node.up) node.failDisk(fault.detail);
      return;
    case "disk slow":
      world.tell(
        `the disk of ${node.name} is ${fault.factor.toFixed(0)} times as slow for ${fault.ms.toFixed(0)} ms`,
      );
      node.slowness = fault.factor;
      clock.after(fault.ms, () => {
        node.slowness = 1;
      });
      return;
    case "record unwritable":
      world.tell(`the record cannot be written on ${node.name} for a while`);
      node.writesFail = true;
      clock.after(fault.ms, () => {
        node.writesFail = false;
      });
      return;
    case "fenced":
      node.guardian.fence();
      return;
    case "resource": {
      const hit = fault.both ? world.nodes : [node];
      for (const each of hit) each.checks.set(fault.name, true);
      clock.after(fault.ms, () => {
        for (const each of hit) each.checks.set(fault.name, false);
      });
      return;
    }
    default:
      trouble(world, node, fault);
  }
}

function trouble(world: World, node: SimNode, fault: Fault): void {
  const { clock, witness } = world;
  world.tell(faultInShort(fault, node.name));
  switch (fault.do) {
    case "witness begins anew":
      witness.restart(fault.ms, fault.all);
      return;
    case "witness stands still":
      witness.freeze(fault.ms, fault.withClock);
      return;
    case "witness has another pace":
      witness.time.setRate(fault.rate);
      return;
    case "witness is slow":
      Object.assign(witness, { slow: fault.slow, repeat: fault.repeat });
      clock.after(fault.ms, () => Object.assign(witness, { slow: 0, repeat: 0 }));
      return;
    case "lag":
      world.network.lag[fault.node] = fault.by;
      clock.after(fault.ms, () => {
        world.network.lag[fault.node] = 0;
      });
      return;
    case "witness answers late":
      witness.late = fault.by;
      clock.after(fault.ms, () => {
        witness.late = 0;
      });
      return;
    case "isolated":
      cut(world, LANS, [0, 1], fault.ms);
      cutWitness(world, fault.node, { there: true, back: true }, fault.ms);
      return;
    case "witness is cut": {
      const { there, back } = fault;
      for (const index of fault.both ? ([0, 1] as const) : [fault.node])
        cutWitness(world, index, { there, back }, fault.ms);
    }
  }
}

/** The word of a person, newer than any before; the other node has it from the heartbeats. */
function maintain(world: World, node: SimNode, on: boolean): void {
  const { clock, chance } = world;
  world.tell(`maintenance is switched ${on ? "on" : "off"} on ${node.name}`);
  const stamp = clock.now;
  node.maintain({ on, stamp });
  clock.after(chance.between(1, HEARD_WITHIN), () => node.peer().maintain({ on, stamp }));
}

function cutWitness(world: World, index: 0 | 1, ways: { there: boolean; back: boolean }, ms: number): void {
  Object.assign(world.witness.cut[index], ways);
  world.clock.after(ms, () => Object.assign(world.witness.cut[index], { there: false, back: false }));
}

function crash(world: World, node: SimNode, off: number): void {
  node.crash();
  world.clock.after(off, () => node.boot());
}

function cut(world: World, lans: readonly LanName[], from: readonly (0 | 1)[], ms: number): void {
  const where = `${lans.join(", ")} from ${from.map((index) => world.nodes[index].name).join(" and ")}`;
  world.tell(`the network is cut: ${where}`);
  for (const lan of lans) for (const index of from) world.network.set(lan, index, true);
  world.clock.after(ms, () => {
    world.tell(`the network is healed: ${where}`);
    for (const lan of lans) for (const index of from) world.network.set(lan, index, false);
  });
}
