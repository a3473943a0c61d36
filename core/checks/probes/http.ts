/** Does a web server answer as it should? Redirections are answers, not followed. */
import type { Subject } from "../module_checks.ts";
import { down, type Probe, up } from "../probe.ts";

/** What is read of a body at most. */
const BODY_BYTES_MAX = 1 << 20;

/** `verify: false` takes any certificate. */
export function httpProbe({ url, status, body, verify }: Extract<Subject, { type: "http" }>): Probe {
  const pattern = body === undefined ? null : new RegExp(body, "u");
  return {
    look: async (signal) => {
      const answer = await fetch(url, {
        signal,
        redirect: "manual",
        keepalive: false,
        // A proxy that the daemon's environment names may answer for a server that does not, or not know this machine's own.
        proxy: false,
        headers: { "user-agent": "holdfast", "cache-control": "no-cache" },
        tls: { rejectUnauthorized: verify },
      } as RequestInit);
      const isGood = status === undefined ? answer.status < 400 : status.includes(answer.status);
      if (!isGood) {
        await answer.body?.cancel();
        return down(`${url} answers ${answer.status} ${answer.statusText}`.trimEnd());
      }
      if (pattern === null) {
        await answer.body?.cancel();
        return up(`${answer.status}`);
      }
      const text = await beginningOf(answer);
      return pattern.test(text)
        ? up(`${answer.status}`)
        : down(`what ${url} answers does not match ${body}: ${JSON.stringify(text.slice(0, 60))}`);
    },
  };
}

async function beginningOf(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const part of answer.body ?? []) {
    text += decoder.decode(part, { stream: true });
    if (text.length >= BODY_BYTES_MAX) break;
  }
  return text.slice(0, BODY_BYTES_MAX);
}
