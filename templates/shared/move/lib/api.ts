/**
 * Calls to a provider's API: each with a time limit, again when it makes sense, and with a failure that says what to do.
 */
import { log } from "holdfast";

/** How long one attempt may take, ms. */
const ATTEMPT_MS = 5000;
/** The pause before the second attempt, ms; it doubles up to the longest one. */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 4000;
/** Answers after which the same call may succeed a little later (RFC 9110, RFC 6585). */
const AGAIN: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** What a provider says when it refuses. */
export interface Refusal {
  code: string;
  message: string;
}

/** A call that the provider refused, or that nobody answered (status 0). */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly code: string;

  constructor(message: string, status: number, code: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** One call. */
export interface Call {
  /** Its name in the provider's documentation. */
  name: string;
  /** What the instance must be allowed for it. */
  permission?: string;
  method?: string;
  url: string;
  body?: string;
  /** Made anew for each attempt: a token or a signature ages. */
  headers: () => Promise<Record<string, string>> | Record<string, string>;
  /** Reads the body of a refusal. */
  refusal: (text: string) => Refusal;
  /** Codes after which the call may succeed a little later, beside the usual statuses. */
  again?: readonly string[];
}

/** What is left of the time in which everything must be done. */
export class Patience {
  readonly #end: number;
  readonly #signal: AbortSignal;

  /** `ms` from now, or until the hook's own time limit. */
  constructor(ms: number, signal: AbortSignal) {
    this.#end = performance.now() + ms;
    this.#signal = signal;
  }

  /** Is there time for a pause of so many ms, and something after it? */
  allows(ms: number): boolean {
    return !this.#signal.aborted && performance.now() + ms < this.#end;
  }

  /** For one attempt. */
  get attempt(): AbortSignal {
    const left = Math.max(1, Math.min(ATTEMPT_MS, this.#end - performance.now()));
    return AbortSignal.any([this.#signal, AbortSignal.timeout(left)]);
  }

  /** Waits until `done` gives something other than null. Throws, with what was waited for, when the time is over. */
  async until<Result>(what: string, done: () => Promise<Result | null>, everyMs = 500): Promise<Result> {
    for (;;) {
      const result = await done();
      if (result !== null) return result;
      if (!this.allows(everyMs)) throw new Error(`waited in vain until ${what}`);
      await pause(everyMs);
    }
  }
}

/** Resolves after so many ms. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes the call; returns the body of the answer. Throws ApiError when it was refused, or nobody answered in time. */
export async function call(request: Call, patience: Patience): Promise<string> {
  for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(2 * wait, LONGEST_PAUSE_MS)) {
    const { text, error, after } = await attempt(request, patience);
    if (error === null) return text;
    const isPassing =
      error.status === 0 || AGAIN.has(error.status) || request.again?.includes(error.code) === true;
    // Neither node of a pair should come back in step with the other.
    const delay = Math.max(after, wait * (0.75 + Math.random() / 2));
    if (!isPassing || !patience.allows(delay)) throw error;
    log(`${error.message}; again in ${Math.round(delay)} ms`);
    await pause(delay);
  }
}

async function attempt(
  request: Call,
  patience: Patience,
): Promise<{ text: string; error: ApiError | null; after: number }> {
  const { name, method = "GET", url, body } = request;
  try {
    const headers = await request.headers();
    const response = await fetch(url, {
      method,
      headers,
      signal: patience.attempt,
      // A credential goes where it was meant to go, and nowhere else.
      redirect: "manual",
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    if (response.ok) return { text, error: null, after: 0 };
    const seconds = Number(response.headers.get("retry-after"));
    return { text, error: refused(request, response.status, text), after: seconds > 0 ? seconds * 1000 : 0 };
  } catch (cause) {
    if (cause instanceof ApiError) return { text: "", error: cause, after: 0 };
    const why = cause instanceof Error ? cause.message : String(cause);
    return {
      text: "",
      error: new ApiError(`${name}: no answer from ${new URL(url).host}: ${why}`, 0, ""),
      after: 0,
    };
  }
}

function refused({ name, permission, refusal }: Call, status: number, text: string): ApiError {
  const { code, message } = refusal(text);
  const hint =
    permission !== undefined && (status === 401 || status === 403)
      ? `; this instance needs the permission ${permission}`
      : "";
  return new ApiError(
    `${name} was refused (${[status, code].filter(Boolean).join(" ")}): ${message}${hint}`,
    status,
    code,
  );
}

/** Reads `{"error": {"code": …, "message": …}}`, as JSON APIs refuse. */
export function jsonRefusal(text: string): Refusal {
  try {
    const { error, error_description: description } = JSON.parse(text);
    if (typeof error === "string") return { code: error, message: String(description ?? "") };
    const reason = error.errors?.[0]?.reason;
    return { code: String(reason ?? error.code), message: String(error.message) };
  } catch {
    return { code: "", message: text.slice(0, 200) };
  }
}
