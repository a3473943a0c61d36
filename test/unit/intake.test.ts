/** What SECOND receives while it is busy with a large directory: a little, so that the connection lives, and no more than there is room for. */
import t from "tap";
import { Intake } from "../../core/filesystem/second/intake.ts";
import type { TargetCopy } from "../../core/filesystem/second/reintegration/target_copy.ts";
import type { Link } from "../../core/filesystem/stream/link.ts";
import { StreamReader, StreamWriter } from "../../core/filesystem/stream/stream_buffers.ts";
import { FrameType } from "../../core/replication/operation.ts";

const TIMEOUT = 1000;
/** Turns of the loop while the directory is made, one each quarter of the timeout. */
const TURNS = 200;
const content = new Uint8Array(300_000);

t.test("a directory that takes very long does not burst the memory for what comes behind it", (t) => {
  const reader = new StreamReader();
  t.teardown(() => {
    reader.close();
  });
  const copy = { isBusy: true, goOn: () => 0 };
  const taken: number[] = [];
  const taker = { take: () => void taken.push(reader.frame.sequence), made: () => {} };
  const intake = new Intake(reader, copy as unknown as TargetCopy, taker, TIMEOUT);
  const writer = new StreamWriter();
  let sent = 0;
  let sips = 0;
  const link = {
    isPaused: true,
    isClosed: false,
    heardAt: 0,
    goOn: () => {},
    close: () => {},
    sip: () => {},
  };
  const sealed = { isIdle: () => true, sendFrame: (plain: Uint8Array) => intake.take(asLink, plain) };
  const asLink = link as unknown as Link;
  // As the peer would: more than a megabyte at a time, cut anywhere.
  link.sip = (): void => {
    sips++;
    for (let frame = 0; frame < 4; frame++) {
      writer.frame.type = FrameType.DATA;
      writer.frame.id = 2 ** 45 + 1;
      writer.frame.sequence = ++sent;
      writer.frame.data.set(content);
      writer.add();
    }
    writer.flush(sealed as unknown as Link);
  };
  for (let now = TIMEOUT; now < TURNS * (TIMEOUT / 4); now += TIMEOUT / 4) {
    link.heardAt = 0;
    intake.goOn(asLink, now);
  }
  t.ok(sips > 4 && sips < TURNS / 2, `${sips} sips`);
  t.same(taken, [], "nothing is dealt with before its turn");
  copy.isBusy = false;
  while (taken.length < sent) intake.goOn(asLink, TURNS * TIMEOUT);
  t.same(
    taken,
    [...taken.keys()].map((index) => index + 1),
  );
  t.end();
});
