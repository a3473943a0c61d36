/** Units: what people write is read exactly, and a bare number is refused with the expected form. */
import t from "tap";
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from "../../modules/units.ts";

t.test("durations, sizes and rates are read exactly", async (t) => {
  t.equal(parseDuration("200ms"), 200);
  t.equal(parseDuration("5m"), 300_000);
  t.equal(parseDuration("24h"), 86_400_000);
  t.equal(parseDuration("1.5s"), 1500);
  t.equal(parseSize("64MiB"), 67_108_864);
  t.equal(parseSize("1GB"), 1e9);
  t.equal(parseRate("100Mbit/s"), 12_500_000);
  t.equal(parseRate("unlimited"), 0);
});

t.test(
  "what has no unit, a wrong unit, a sign or too many digits is refused with the expected form",
  async (t) => {
    const refused = [
      200,
      "200",
      "200 ms s",
      "-5s",
      "5 min",
      "5M",
      "",
      "ms",
      null,
      {},
      "1e3s",
      `${"9".repeat(40)}s`,
      "0x5s",
      "5constructor",
    ];
    for (const value of refused) t.throws(() => parseDuration(value), { message: /duration/ }, String(value));
    t.throws(() => parseDuration(200), {
      message: "200 has no unit: write a duration with its unit, such as 200ms, 5s, 5m or 24h",
    });
    t.throws(() => parseSize("64"), { message: /has no unit: write a size with its unit, such as 64MiB/ });
    t.throws(() => parseRate("100Mbit"), { message: /not a unit of a rate/ });
    t.throws(() => parseRate("0Mbit/s"), { message: /unlimited/ });
  },
);

t.test("formatted values are read back", async (t) => {
  for (const ms of [1, 200, 1000, 1500, 60_000, 86_400_000]) t.equal(parseDuration(formatDuration(ms)), ms);
  t.equal(formatDuration(0), "0ms");
  t.equal(formatSize(1.5 * 2 ** 30), "1.5 GiB");
  t.equal(formatRate(0), "unlimited");
});
