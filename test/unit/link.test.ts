/** The peer link: who is let in, and what happens to bytes that somebody touched. */
import t from "tap";
import { FrameOpener, FrameSealer } from "../../core/filesystem/stream/frames.ts";
import { Handshake } from "../../core/filesystem/stream/handshake.ts";
import { Link, type LinkOwner } from "../../core/filesystem/stream/link.ts";
import {
  acceptFrom,
  closeSocket,
  dialTo,
  listenOn,
  PollSet,
  pinned,
  portOf,
  send,
} from "../../core/platform/linux/sockets.ts";

const key = new Uint8Array(32).fill(7);
const otherKey = new Uint8Array(32).fill(8);

/** Runs both sides of a handshake in memory. */
function shake(dialer: Handshake, listener: Handshake): void {
  const second = listener.take(dialer.opening());
  listener.take(dialer.take(second));
}

t.test("both sides agree on keys, different each time and each way", (t) => {
  const rounds = [0, 1].map(() => {
    const dialer = new Handshake("dialer", key, "db");
    const listener = new Handshake("listener", key, "db");
    shake(dialer, listener);
    t.same(dialer.keys?.send, listener.keys?.receive);
    t.same(dialer.keys?.receive, listener.keys?.send);
    t.notSame(dialer.keys?.send, dialer.keys?.receive);
    return dialer.keys?.send;
  });
  t.notSame(rounds[0], rounds[1]);
  t.end();
});

t.test("a wrong key, another module, a reflected or a replayed proof is refused", (t) => {
  const listener = (): Handshake => new Handshake("listener", key, "db");
  t.throws(() => listener().take(new Handshake("dialer", otherKey, "db").opening()), /replication key/);
  t.throws(() => listener().take(new Handshake("dialer", key, "web").opening()), /replication key/);

  // An impostor that answers a real dialer without the key.
  const dialer = new Handshake("dialer", key, "db");
  dialer.opening();
  t.throws(() => dialer.take(crypto.getRandomValues(new Uint8Array(64))), /replication key/);

  // A recorded conversation, played to a fresh listener: its new ephemeral key makes the old proof worthless.
  const recorded = new Handshake("dialer", key, "db");
  const opening = recorded.opening();
  const proof = recorded.take(listener().take(opening));
  const fresh = listener();
  fresh.take(opening);
  t.throws(() => fresh.take(proof), /replication key/);
  t.equal(fresh.keys, null);
  t.end();
});

t.test("frames: replayed, reordered, truncated or changed ones do not open", (t) => {
  const secret = new Uint8Array(32).fill(3);
  const sealed = (): { first: Uint8Array; second: Uint8Array } => {
    const sealer = new FrameSealer(secret);
    const out = new Uint8Array(1000);
    const end = sealer.seal(new TextEncoder().encode("first"), out, 0);
    const end2 = end + sealer.seal(new TextEncoder().encode("second"), out, end);
    return { first: out.slice(0, end), second: out.slice(end, end2) };
  };
  const { first, second } = sealed();
  const opener = new FrameOpener(secret);
  t.equal(Buffer.from(opener.open(first.slice())).toString(), "first");
  t.throws(() => opener.open(first.slice()), "replay");
  t.throws(() => new FrameOpener(secret).open(second), "reordered");
  for (let at = 0; at < first.length; at++) {
    const changed = first.slice();
    changed[at]! ^= 1;
    t.throws(() => new FrameOpener(secret).open(changed), `byte ${at} changed`);
  }
  t.throws(() => new FrameOpener(secret).open(first.slice(0, -1)), "truncated");
  t.throws(() => FrameOpener.size(new Uint8Array([255, 255, 255, 127]), 0), /limit/);
  t.end();
});

class Recorder implements LinkOwner {
  opened = 0;
  received: Uint8Array[] = [];
  closed = "";
  onOpen(): void {
    this.opened++;
  }
  onFrame(_: Link, plain: Uint8Array): void {
    this.received.push(Uint8Array.from(plain));
  }
  onClosed(_: Link, why: string): void {
    this.closed = why;
  }
}

/** Polls the links until `done` or a second has passed. */
function turn(links: readonly Link[], done: () => boolean): void {
  const poll = new PollSet(8);
  const end = performance.now() + 2000;
  while (!done() && performance.now() < end) {
    poll.clear();
    const open = links.filter((link) => !link.isClosed);
    for (const link of open) poll.add(link.fd, link.events());
    if (open.length === 0 || poll.wait(100) === 0) continue;
    open.forEach((link, place) => {
      if (poll.ready(place) !== 0) link.onReady(poll.ready(place), performance.now());
    });
  }
}

/** A dialing and an accepted descriptor on loopback. */
function connected(): [number, number] {
  const listening = listenOn("127.0.0.1", 0, 4);
  const dialing = dialTo("127.0.0.1", portOf(listening));
  const poll = new PollSet(1);
  poll.add(listening, 1);
  poll.wait(1000);
  const accepted = acceptFrom(listening);
  closeSocket(listening);
  return [dialing, accepted];
}

t.test("over TCP: a megabyte both ways, and a stranger learns nothing", (t) => {
  const [a, b] = connected();
  const [left, right] = [new Recorder(), new Recorder()];
  const dialer = new Link(a, "dialer", "peer", key, "db", 5000, performance.now(), left);
  const listener = new Link(b, "listener", "peer", key, "db", 5000, performance.now(), right);
  const links = [dialer, listener];
  turn(links, () => left.opened + right.opened === 2);
  t.equal(left.opened + right.opened, 2);
  const big = crypto.getRandomValues(new Uint8Array(65536));
  const whole = new Uint8Array(1 << 20);
  for (let at = 0; at < whole.length; at += big.length) whole.set(big, at);
  dialer.sendFrame(whole);
  listener.sendFrame(big);
  turn(links, () => left.received.length + right.received.length === 2);
  t.same(Buffer.from(right.received[0]!).equals(Buffer.from(whole)), true);
  t.same(Buffer.from(left.received[0]!).equals(Buffer.from(big)), true);
  dialer.close("done");
  turn([listener], () => right.closed !== "");
  t.match(right.closed, /closed/);

  const [c, d] = connected();
  const [stranger, host] = [new Recorder(), new Recorder()];
  const pair = [
    new Link(c, "dialer", "peer", otherKey, "db", 5000, performance.now(), stranger),
    new Link(d, "listener", "peer", key, "db", 5000, performance.now(), host),
  ];
  turn(pair, () => host.closed !== "" && stranger.closed !== "");
  t.match(host.closed, /replication key/);
  t.equal(stranger.opened + host.opened, 0);
  t.equal(pair[0]!.bytesReceived, 0);

  // Garbage in place of a frame, after a good handshake, ends the connection.
  const [e, f] = connected();
  const [good, victim] = [new Recorder(), new Recorder()];
  const last = [
    new Link(e, "dialer", "peer", key, "db", 5000, performance.now(), good),
    new Link(f, "listener", "peer", key, "db", 5000, performance.now(), victim),
  ];
  turn(last, () => good.opened + victim.opened === 2);
  const garbage = pinned(64);
  garbage.bytes.set([4, 0, 0, 0], 0);
  send(e, garbage, 0, 64);
  turn(last, () => victim.closed !== "");
  t.not(victim.closed, "");
  t.equal(victim.received.length, 0);
  for (const link of last) link.close("done");
  t.end();
});

/** Sends to a link that is paused after each frame, and sips now and then or not: for `ms`, or until the kernel gives the connection up. */
function sendToPaused(timeoutMs: number, ms: number, sips: boolean): boolean {
  const [a, b] = connected();
  const [left, right] = [new Recorder(), new Recorder()];
  const sender = new Link(a, "dialer", "peer", key, "db", timeoutMs, performance.now(), left);
  const paused = new Link(b, "listener", "peer", key, "db", timeoutMs, performance.now(), right);
  turn([sender, paused], () => left.opened + right.opened === 2);
  right.onFrame = (link): void => {
    link.isPaused = true;
  };
  const frame = new Uint8Array(1 << 18);
  const end = performance.now() + ms;
  while (!sender.isClosed && performance.now() < end) {
    if (sips) paused.sip(performance.now());
    paused.isPaused = true;
    const next = performance.now() + 50;
    turn([sender], () => {
      if (sender.isIdle()) sender.sendFrame(frame);
      return performance.now() > next;
    });
  }
  const lived = !sender.isClosed;
  for (const link of [sender, paused]) link.close("done");
  return lived;
}

t.test("who pauses for long and takes a little now and then is not given up", (t) => {
  t.equal(sendToPaused(1000, 10_000, false), false, "without that the kernel ends it");
  t.equal(sendToPaused(1000, 4000, true), true);
  t.end();
});
