/** What verify says: equal only when all was compared and nothing differs. */
import t from "tap";
import { verdictOf } from "../../core/daemon/replication/verdict.ts";

const nodes = { primary: "n1", secondary: "n2" };
const nothing = { objects: 3, bytes: 10, differences: [], unreadable: [] };

t.test("trap 13: equal, different, and what neither disk gives", (t) => {
  t.match(verdictOf("db", nothing, nodes), {
    status: 0,
    message: /are equal: 3 objects, 10 bytes compared$/,
  });
  const differences = [{ path: "/data/a", what: "here mode: 1; on the secondary mode: 2" }];
  t.match(verdictOf("db", { ...nothing, differences }, nodes), {
    status: 4,
    message: /^1 differences \(3 objects, 10 bytes compared\):\n\/data\/a: here mode/,
  });
  const unreadable = (["primary", "secondary"] as const).map((node) => ({
    path: "/data/b",
    node,
    what: "names",
    error: "EIO",
  }));
  const verdict = verdictOf("db", { ...nothing, unreadable }, nodes);
  t.equal(verdict.status, 4);
  t.match(
    verdict.message,
    "\n/data/b: names cannot be read on n1: EIO\n/data/b: names cannot be read on n2: EIO\n",
  );
  t.match(verdict.data, { unreadable: [{ node: "n1" }, { node: "n2", error: "EIO" }] });
  t.end();
});
