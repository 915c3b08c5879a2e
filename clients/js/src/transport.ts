// Sends requests with a deadline, retries them where this is safe, and turns every other answer into an error.
import { PhoenixError, PhoenixProblem, PhoenixUnreachable, problemOf } from "./errors.js";
import { delayMs, maySendAgain, RETRY_POLICY, type RetryPolicy, sleep } from "./retry.js";

export interface PhoenixOptions {
  /** Where the server is: `https://video.example.org`, or the path of your proxy: `/api/phoenix`. */
  baseUrl?: string;
  /** An API key. Keep it on your server: a page that needs one goes through the proxy of this package. */
  apiKey?: string;
  /** Lets a page hold a key all the same, for tools that run on the machine of their user. */
  allowKeyInBrowser?: boolean;
  headers?: Record<string, string>;
  retry?: Partial<RetryPolicy>;
  /** Milliseconds until an answer has arrived, for each try. Uploads have no such limit. */
  timeoutMs?: number;
  fetch?: typeof fetch;
}

export interface Outgoing {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | FormData;
  signal?: AbortSignal;
  /** Whether it takes effect once if it is sent twice. */
  isRepeatable: boolean;
  idempotencyKey?: string;
}

/** Ends a request after a time without progress, or with the signal of the caller. */
export class Deadline {
  isOver = false;
  readonly #controller = new AbortController();
  readonly #end = () => this.#controller.abort(this.outer?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly ms: number,
    readonly outer?: AbortSignal,
  ) {
    if (outer?.aborted) this.#end();
    outer?.addEventListener("abort", this.#end);
    this.extend();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the time again. */
  extend(): void {
    clearTimeout(this.#timer);
    if (this.ms === Infinity) return;
    this.#timer = setTimeout(() => {
      this.isOver = true;
      this.#controller.abort();
    }, this.ms);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.outer?.removeEventListener("abort", this.#end);
  }
}

const inPage = typeof document !== "undefined";

export class Transport {
  readonly baseUrl: string;
  readonly policy: RetryPolicy;
  readonly #fetch: typeof fetch;
  readonly #headers: Record<string, string>;
  readonly #timeoutMs: number;

  constructor(options: PhoenixOptions) {
    if (options.apiKey && inPage && !options.allowKeyInBrowser) {
      throw new TypeError("A page must not hold an API key, which everybody could read. Use the proxy of this package.");
    }
    this.baseUrl = (options.baseUrl ?? (inPage ? "" : "http://127.0.0.1:8080")).replace(/\/+$/, "").replace(/\/v1$/, "");
    this.policy = { ...RETRY_POLICY, ...options.retry };
    this.#headers = { ...options.headers, ...(options.apiKey && { authorization: `Bearer ${options.apiKey}` }) };
    this.#timeoutMs = options.timeoutMs ?? 60_000;
    // Called with another `this`, the fetch of a browser throws.
    this.#fetch = options.fetch ?? ((...args) => fetch(...args));
  }

  /** A path of the server as a URL. Other URLs stay as they are. */
  url(path: string): string {
    return path.startsWith("/") ? this.baseUrl + path : path;
  }

  /** The text of a 2xx answer. Retries until the policy gives up. */
  async send(request: Outgoing): Promise<string> {
    const timeoutMs = request.body instanceof FormData ? Infinity : this.#timeoutMs;
    for (let failures = 1; ; failures += 1) {
      const deadline = new Deadline(timeoutMs, request.signal);
      try {
        const response = await this.open(request, deadline);
        return await this.reading(deadline, () => response.text());
      } catch (error) {
        await this.pause(error, failures, this.policy, request);
      } finally {
        deadline.close();
      }
    }
  }

  /** Sends the request once. Returns the 2xx answer before its body is read. */
  async open({ method, path, headers, body, idempotencyKey }: Outgoing, deadline: Deadline): Promise<Response> {
    const response = await this.reading(deadline, () =>
      this.#fetch(this.url(path), {
        method,
        body,
        signal: deadline.signal,
        // What a browser has in its cache may be older than the job.
        ...(inPage && { cache: "no-store" as const }),
        headers: {
          ...this.#headers,
          ...(typeof body === "string" && { "content-type": "application/json" }),
          ...(idempotencyKey && { "idempotency-key": idempotencyKey }),
          ...headers,
        },
      }),
    );
    if (response.ok) return response;
    throw await this.reading(deadline, () => problemOf(response));
  }

  /** Runs `read`. Throws the reason of the caller's signal, or `PhoenixUnreachable` for every other failure. */
  async reading<T>(deadline: Deadline, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      deadline.outer?.throwIfAborted();
      const reason = deadline.isOver ? `nothing for ${deadline.ms / 1000} s` : String((error as Error)?.message ?? error);
      throw new PhoenixUnreachable(`${this.baseUrl || "The server"} does not answer: ${reason}`, error);
    }
  }

  /** Waits until the next try. Throws `error` if it is final, or if the policy gives up. */
  async pause(error: unknown, failures: number, policy: RetryPolicy, request: Outgoing): Promise<void> {
    if (!(error instanceof PhoenixError)) throw error;
    error.idempotencyKey ??= request.idempotencyKey;
    const retryAfterMs = error instanceof PhoenixProblem ? error.retryAfterMs : undefined;
    const waitMs = delayMs(policy, failures, retryAfterMs, Math.random());
    if (waitMs === undefined || !maySendAgain(error.kind, request.isRepeatable)) throw error;
    await sleep(waitMs, request.signal);
  }
}
