/**
 * What the kernels of a farm's nodes ask each other without their daemons, as nftables text. Pure.
 *
 * A packet that is nobody's, as far as the node goes by that got it, is told to each other node by itself: also to those that it does not hear, and
 * those that the others do not hear. Who has the flow takes the packet and says so; who has not is silent. So it does not depend on heartbeats
 * whether a connection goes on where a network heals, and what a busy daemon has not yet noticed resets none.
 *
 * A question is the packet itself with the mark of the node that asks and a hop limit of 1, an answer is the question with a hop limit of 0: no
 * router passes either on, and none comes through one. Neither is ever handed on.
 */
import { FIRST_MARK, type Filter, WORDS } from "./filter.ts";

const QUESTION = 1;
const ANSWER = 0;
const USUAL_HOPS = 64;

/** The rule that tells them from other packets. */
export function isQuestionOrAnswer(version: 4 | 6, chain: string): string {
  return `${WORDS[version].hops} <= ${QUESTION} jump ${chain}`;
}

/** What becomes of them. `sets`: those of the flows that this node has. That another has one is noted in the set `elsewhere`. */
export function questions(
  { virtualMac, mac, device }: Filter,
  version: 4 | 6,
  { name, key, sets }: { name: string; key: string; sets: readonly string[] },
): string[] {
  const { ip, hops } = WORDS[version];
  const answer = `${hops} set ${ANSWER} ether daddr set ether saddr ether saddr set ${mac} dup to "${device}"`;
  // In `mode: invisible` this node had the packet from the client.
  const then = virtualMac === undefined ? `${hops} set ${USUAL_HOPS} ${ip} dscp set 0 return` : "drop";
  return [
    `${hops} ${ANSWER} ether saddr @members update @${name}_elsewhere { ${key} }`,
    `${hops} ${ANSWER} drop`,
    ...sets.map((set) => `${ip} dscp >= ${FIRST_MARK} ${key} @${name}_${set} ${answer} ${then}`),
    `${ip} dscp >= ${FIRST_MARK} drop`,
  ];
}

/** Asks all. */
export function ask({ me, mac, device, peers, absent }: Filter, version: 4 | 6): string[] {
  const { ip, hops } = WORDS[version];
  return [
    `${ip} dscp set ${FIRST_MARK + me} ${hops} set ${QUESTION} ether saddr set ${mac}`,
    ...[...peers, ...absent].map((other) => `ether daddr set ${other.mac} dup to "${device}"`),
    "drop",
  ];
}
