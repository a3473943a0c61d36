/**
 * Secrets over HTTP. Only the machine's own administrator sets and removes; between members nothing travels that is not sealed.
 *
 * What a request is refused with never quotes it: it may hold a value.
 */
import type { Hono } from "hono";
import * as v from "valibot";
import type { SecretCommands } from "../daemon/engine.ts";
import { askSchema, MAX_SECRET_BYTES, secretKeySchema } from "../secrets/secrets.ts";
import type { Bindings, Ctx } from "./host.ts";
import { parse, Refusal, readBody, resultResponse } from "./result.ts";

const setBody = v.strictObject(
  {
    /** base64. */
    value: v.pipe(
      v.string("expected base64"),
      v.maxLength(4 * Math.ceil(MAX_SECRET_BYTES / 3), `a secret has at most ${MAX_SECRET_BYTES} bytes`),
      v.regex(/^[A-Za-z0-9+/]*={0,2}$/, "expected base64"),
    ),
  },
  "expected a value and nothing else",
);

/** The value. What is wrong with the body is said without its own words: they may be the value. */
async function valueIn(request: Request): Promise<Buffer> {
  const body = await readBody(request, v.unknown());
  const found = v.safeParse(setBody, body);
  if (!found.success) throw new Refusal(2, found.issues.map(({ message }) => message).join("\n"));
  return Buffer.from(found.output.value, "base64");
}

/** What the other routes know too. */
export interface RouteParts {
  secrets(): SecretCommands;
  moduleName: v.GenericSchema<string, string>;
  byOf(c: Ctx): string;
  onlyLocal(c: Ctx): void;
}

/** Adds them. */
export function secretRoutes(app: Hono<Bindings>, parts: RouteParts): void {
  const { secrets, byOf, onlyLocal } = parts;
  const module = (c: Ctx): string => parse(parts.moduleName, c.req.param("module"));
  const key = (c: Ctx): string => parse(secretKeySchema, c.req.param("key"));
  const member = (c: Ctx): string => {
    const { caller } = c.env;
    if (caller.kind !== "member") throw new Refusal(2, "only another node asks this");
    return caller.node;
  };
  app.get("/secrets/:module", (c) => resultResponse(secrets().list(module(c))));
  app.post("/secrets/give", async (c) => {
    const node = member(c);
    return resultResponse(secrets().give(node, await readBody(c.req.raw, askSchema)));
  });
  app.post("/secrets/look", async (c) => resultResponse(await secrets().look(member(c))));
  app.put("/secrets/:module/:key", async (c) => {
    onlyLocal(c);
    return resultResponse(await secrets().set(module(c), key(c), await valueIn(c.req.raw), byOf(c)));
  });
  app.delete("/secrets/:module/:key", async (c) => {
    onlyLocal(c);
    return resultResponse(await secrets().remove(module(c), key(c), byOf(c)));
  });
}
