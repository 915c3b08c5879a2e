// What can go wrong. Every error says whether trying again can help.
import { type FailureKind, kindOfStatus, kindOfThrown, parseRetryAfter } from "./retry.js";
import type { Job, Problem, ProblemFault } from "./types.js";

interface Facts {
  code: string;
  kind: FailureKind;
  retriable?: boolean;
  requestId?: string;
  cause?: unknown;
}

/** The base class of every error of this client, except for the `AbortError` of a signal of yours. */
export class PhoenixError extends Error {
  override name = "PhoenixError";
  /** A code of the API, such as `QUEUE_FULL`, or one of the client: `UNREACHABLE`, `CORRUPTED`, `NO_OUTPUT`. */
  readonly code: string;
  /** What the failure says of the request and its Idempotency-Key. */
  readonly kind: FailureKind;
  /** Whether the same request, with the same Idempotency-Key, can succeed later. */
  readonly retriable: boolean;
  /** Id of the request in the logs of the server. */
  readonly requestId: string | undefined;
  /** The key that the request was sent with. Send it again with the same request, and at most one job is made. */
  idempotencyKey: string | undefined;

  constructor(message: string, { code, kind, retriable, requestId, cause }: Facts) {
    super(message, { cause });
    this.code = code;
    this.kind = kind;
    this.retriable = retriable ?? (kind === "not-done" || kind === "in-doubt");
    this.requestId = requestId;
  }
}

/** The server refused the request. */
export class PhoenixProblem extends PhoenixError {
  override name = "PhoenixProblem";
  readonly status: number;
  /** Every error of the request, each with a JSON Pointer into the body. */
  readonly errors: readonly ProblemFault[];
  readonly retryAfterMs: number | undefined;

  constructor(status: number, problem: Partial<Problem>, headers: Headers) {
    const code = problem.code ?? `HTTP_${status}`;
    super(`${code} (${status}): ${problem.detail ?? "an answer that is not from Phoenix"}`, {
      code,
      kind: kindOfStatus(status, code),
      requestId: problem.request_id ?? headers.get("x-request-id") ?? undefined,
    });
    this.status = status;
    this.errors = problem.errors ?? [];
    this.retryAfterMs = parseRetryAfter(headers.get("retry-after"));
  }

  /** Where the first error of the request is, as a JSON Pointer: `/clips/0/prompt`. */
  get pointer(): string | undefined {
    return this.errors[0]?.pointer;
  }
}

/** No answer came: nothing listens at the address, the connection broke, or it took too long. */
export class PhoenixUnreachable extends PhoenixError {
  override name = "PhoenixUnreachable";

  constructor(message: string, cause?: unknown) {
    super(message, { code: "UNREACHABLE", kind: cause === undefined ? "in-doubt" : kindOfThrown(cause), cause });
  }
}

/** The job ended without a result. `job` has the details; `retriable` says whether `phoenix.retry(job.id)` can help. */
export class JobFailed extends PhoenixError {
  override name = "JobFailed";
  readonly job: Job;

  constructor(job: Job) {
    const code = job.error?.code ?? (job.state === "canceled" ? "CANCELED" : "FAILED");
    super(`${job.id} ${job.state}: ${job.error?.message ?? code}`, {
      code,
      kind: "refused",
      retriable: job.error?.retriable ?? job.state !== "failed",
      requestId: job.request_id ?? undefined,
    });
    this.job = job;
  }
}

/** The error for an answer that is not 2xx. Reads its body. */
export async function problemOf(response: Response): Promise<PhoenixProblem> {
  let problem: Partial<Problem> = {};
  try {
    problem = JSON.parse(await response.text());
  } catch {
    // A proxy has answered instead of Phoenix, or the body broke off: the status says enough.
  }
  return new PhoenixProblem(response.status, problem ?? {}, response.headers);
}
