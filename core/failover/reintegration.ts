/**
 * The steps at which a reintegration needs something durable, and what the data path's other reports lead to.
 *
 * At its end: the target has everything and says so; the source records PRIM (no longer ALONE: alone it could not start again from that
 * moment on); only then does the target record that it is up to date. So at no instant can either be started while the other is ahead.
 */
import { isRestored, peerCandidate, relation, together } from "./generations.ts";
import { change, emit, isCommitted, persist, proceed, queueData, resetStream } from "./plan.ts";
import { candidate, type Draft, heardPeer, isServing, peerName } from "./state.ts";
import type { Generations, PeerView, ReplicationReport } from "./types.ts";
import { hasRight } from "./witness.ts";

/** How long a target waits before it follows again after its disk or its process failed, ms. */
const BACK_OFF = 5000;

/** Takes in a report of the data path. */
export function onReport(draft: Draft, report: ReplicationReport): void {
  // Past the decision to serve, nothing that the stream still says as a target counts.
  const role = draft.replication.role === "following" && isCommitted(draft) ? "idle" : draft.replication.role;
  // A connection that is to be stopped, since the disk failed: what it still brings may be on a page that was lost.
  const isOver = role === "following" && draft.replication.backOff;
  if (isOver && (report.kind === "inSync" || report.kind === "reintegrating" || report.kind === "caughtUp"))
    return;
  switch (report.kind) {
    case "inSync":
      if (role === "idle" || draft.outdating !== null) return;
      draft.replication = { ...draft.replication, inSync: true, peerGone: null };
      emit(draft, { do: "timer", name: "join", ms: null });
      return;
    case "reintegrating":
      if (report.side === "target" && role === "following") beginTarget(draft, report.full);
      return;
    case "caughtUp":
      if (report.side === "target") {
        if (role !== "following") return;
        draft.replication = { ...draft.replication, caughtUp: report.generations };
        emit(draft, { do: "publish" });
      } else if (role === "serving" && draft.outdating === null) endSource(draft);
      return;
    case "peerGone":
      if (role === "idle") return;
      draft.replication = {
        ...draft.replication,
        inSync: false,
        caughtUp: null,
        peerGone: role === "serving" && report.held !== false ? report.cause : null,
        connection: draft.replication.connection + 1,
      };
      return;
    case "diskFailed":
      if (draft.record.consistency === "uptodate" || draft.record.consistency === "outdated")
        queueData(draft, [persist({ consistency: "suspect" })]);
      draft.trouble = `the disk of ${draft.config.node} failed: ${report.detail}`;
      if (role === "following") backOff(draft);
      return;
    case "refused":
      if (role === "following") draft.replication = { ...draft.replication, refused: report.relation };
      draft.why.push(report.detail);
      return;
    case "died":
      if (role === "following") {
        resetStream(draft, "idle");
        backOff(draft);
      }
      return;
  }
}

/** Waits before the target follows again, so that a failing disk does not make both nodes flap. */
export function backOff(draft: Draft): void {
  draft.replication = { ...draft.replication, backOff: true, inSync: false, caughtUp: null };
  emit(draft, { do: "timer", name: "follow again", ms: BACK_OFF });
}

function beginTarget(draft: Draft, full: boolean): void {
  // A new connection, even if nobody told that the last one is over.
  const connection = draft.replication.connection + 1;
  draft.replication = { ...draft.replication, connection, inSync: false, caughtUp: null };
  queueData(draft, [
    persist({ consistency: "inconsistent", generations: resumable(draft, full) }),
    proceed(draft, "reintegrating"),
  ]);
}

/** Generations from which an interrupted reintegration resumes by itself, without a second sacrifice or a second command. */
function resumable(draft: Draft, full: boolean): Generations {
  const mine = draft.record.generations;
  if (full) return { current: "", parted: null, history: [] };
  const theirs = draft.peer?.record.generations;
  if (theirs === undefined || relation(mine, theirs) !== "split-brain") return mine;
  const at = mine.history.findIndex((generation) => theirs.history.includes(generation));
  return { current: mine.history[at] ?? "", parted: null, history: mine.history.slice(at + 1) };
}

/** Source: the target has everything; from now on this node could not start alone again. */
export function endAlone(draft: Draft, peer: PeerView): void {
  const { record } = draft;
  if (!isServing(draft.state) || record.role !== "ALONE" || peer.state !== "SECOND") return;
  if (peer.caughtUp !== record.generations.current || draft.replication.peerGone !== null) return;
  if (!hasRight(draft)) return;
  queueData(draft, [persist({ role: "PRIM", peerOutdatedIn: null }), change({})]);
}

function endSource(draft: Draft): void {
  queueData(draft, [
    persist({
      role: "PRIM",
      generations: together(draft.record.generations),
      peerOutdatedIn: null,
      // What the disk of a source lost is not repaired by having copied the rest.
      consistency: draft.record.consistency,
    }),
    proceed(draft, "caughtUp"),
    change({
      state: "PRIM",
      // What is fetched after a swap is of no node that was away: a person wanted that.
      reintegrated: draft.reintegrated || draft.state === "ALONE",
      reason: `${peerName(draft)} is reintegrated`,
      remedy: null,
    }),
  ]);
}

/** Target: the source is durably PRIM in the same generation, so this copy counts from now on. */
export function endTarget(draft: Draft, peer: PeerView): void {
  countAgain(draft, peer);
  const caughtUp = draft.replication.caughtUp;
  if (caughtUp === null || draft.state !== "SECOND" || peer.outdate !== null) return;
  if (!isServing(peer.state) || peer.record.role !== "PRIM") return;
  if (peer.record.generations.current !== caughtUp.current) return;
  draft.replication = { ...draft.replication, caughtUp: null };
  draft.forbidden = null;
  queueData(draft, [
    persist({
      role: "SECOND",
      consistency: "uptodate",
      generations: together(caughtUp),
      wasPrimaryAtParting: false,
      peerOutdatedIn: null,
      witness: peer.record.witness ?? null,
    }),
    proceed(draft, "caughtUp"),
    change({ outdatedIn: null, trouble: null }),
  ]);
}

/** The primary asked this copy to be outdated, but never went on alone: in its stream again, in the same generation, nothing is missing. */
function countAgain(draft: Draft, peer: PeerView): void {
  const { record, durable, replication } = draft;
  if (draft.state !== "SECOND" || replication.role !== "following" || !replication.inSync) return;
  if (record.consistency !== "outdated" && (draft.forbidden === null || record.consistency !== "uptodate"))
    return;
  if (peer.state !== "PRIM" || peer.record.role !== "PRIM" || peer.outdate !== null) return;
  if (relation(durable.generations, peer.record.generations) !== "equal") return;
  draft.forbidden = null;
  queueData(draft, [persist({ consistency: "uptodate" }), change({ outdatedIn: null })]);
}

/** Was this copy restored from a snapshot? Of a blank one the source itself knows whether all of it is still to be copied. */
export function needsFullCopy(draft: Draft): boolean {
  const peer = heardPeer(draft);
  return peer !== null && isRestored(candidate(draft, draft.record), peerCandidate(peer));
}
