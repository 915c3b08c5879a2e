// When a failed request is sent again. Everything here is a decision; nothing waits or sends.

/**
 * What a failure says of the request and of its Idempotency-Key.
 *
 * - `not-done`: it never arrived, or was refused for now (408, 429, 503). The key is unused; the same request may be sent again.
 * - `in-doubt`: no answer came back, or a gateway answered. The same key finds what was made, if anything was.
 * - `refused`: the request is at fault. The key is unused, but the same request would be refused again.
 * - `key-taken`: another request has used the key. Only a new key helps.
 */
export type FailureKind = "not-done" | "in-doubt" | "refused" | "key-taken";

const NOT_DONE = [408, 429, 503];
/** The store is full until its operator makes room: trying again soon does not help. */
const STORAGE_FULL = 507;

export function kindOfStatus(status: number, code: string): FailureKind {
  if (code === "IDEMPOTENCY_MISMATCH") return "key-taken";
  if (NOT_DONE.includes(status)) return "not-done";
  return status >= 500 && status !== STORAGE_FULL ? "in-doubt" : "refused";
}

/** Codes of Node, Bun and undici for a connection that was never made. */
const NEVER_SENT = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|CONNECT_TIMEOUT|ConnectionRefused/;

/** The kind of a request that `fetch` has thrown for. Browsers do not say whether it was sent. */
export function kindOfThrown(error: unknown): FailureKind {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  return NEVER_SENT.test(`${code} ${cause?.code}`) ? "not-done" : "in-doubt";
}

/** Whether the same request can help. `isRepeatable`: sent twice, it takes effect once. */
export function maySendAgain(kind: FailureKind, isRepeatable: boolean): boolean {
  return kind === "not-done" || (kind === "in-doubt" && isRepeatable);
}

export interface RetryPolicy {
  /** Tries in a row, the first included. */
  attempts: number;
  firstDelayMs: number;
  longestDelayMs: number;
}

export const RETRY_POLICY: RetryPolicy = { attempts: 5, firstDelayMs: 500, longestDelayMs: 60_000 };

/** About nine minutes without an answer, which is longer than a redeploy. */
export const WATCH_POLICY: RetryPolicy = { attempts: 20, firstDelayMs: 1000, longestDelayMs: 30_000 };

/**
 * Milliseconds to wait after `failures` (from 1) in a row; undefined to give up.
 *
 * A Retry-After that exceeds the longest delay also gives up. `jitter`, from 0 to 1, adds up to a quarter, so that the
 * clients of a restarted server do not return all at once.
 */
export function delayMs(policy: RetryPolicy, failures: number, retryAfterMs = 0, jitter = 0): number | undefined {
  if (failures >= policy.attempts || retryAfterMs > policy.longestDelayMs) return undefined;
  const backoffMs = Math.min(policy.firstDelayMs * 2 ** (failures - 1), policy.longestDelayMs);
  return Math.max(backoffMs, retryAfterMs) * (1 + jitter / 4);
}

/** Milliseconds from either form of the header Retry-After (RFC 9110, 10.2.3); undefined if it is absent or malformed. */
export function parseRetryAfter(header: string | null, nowMs = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    if (signal?.aborted) end();
    else signal?.addEventListener("abort", end, { once: true });
  });
}
