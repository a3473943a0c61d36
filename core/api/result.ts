/** CommandResult on the wire. */
import * as v from "valibot";
import type { CommandResult } from "../daemon/engine.ts";

/** A CommandResult that another process sent. */
export const resultSchema = v.object({
  status: v.picklist([0, 1, 2, 3, 4]),
  message: v.string(),
  data: v.exactOptional(v.unknown()),
});

/** Reads a result. Throws when the text is none. */
export function readResult(text: string): CommandResult {
  return v.parse(resultSchema, JSON.parse(text));
}

const HTTP_STATUS = { 0: 200, 1: 500, 2: 400, 3: 502, 4: 200 } as const;

/** A result as an answer: its own status is in the body, HTTP's is near it. */
export function resultResponse(value: CommandResult): Response {
  return Response.json(value, { status: HTTP_STATUS[value.status] });
}

/** A request that is refused before it reaches the engine. `status` is the exit status of the command line. */
export class Refusal extends Error {
  readonly status: 1 | 2 | 3;

  constructor(status: 1 | 2 | 3, message: string) {
    super(message);
    this.status = status;
  }
}

/** Reads the JSON body of a request by a schema. Throws Refusal with the path of each wrong field. */
export async function readBody<const Schema extends v.GenericSchema>(
  request: Request,
  schema: Schema,
): Promise<v.InferOutput<Schema>> {
  const text = await request.text();
  let value: unknown;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch {
    throw new Refusal(2, "the request's body is not JSON");
  }
  return parse(schema, value);
}

/** Checks a value by a schema. Throws Refusal with the path of each wrong field. */
export function parse<const Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
): v.InferOutput<Schema> {
  const found = v.safeParse(schema, value);
  if (found.success) return found.output;
  throw new Refusal(
    2,
    found.issues.map((issue) => `${v.getDotPath(issue) ?? "request"}: ${issue.message}`).join("\n"),
  );
}
