// Follows the events of one job over broken connections. Durable events arrive once and without a gap.
import { PhoenixUnreachable } from "./errors.js";
import { WATCH_POLICY } from "./retry.js";
import { SseParser } from "./sse.js";
import { Deadline, type Outgoing, type Transport } from "./transport.js";
import type { JobEvent, JobState } from "./types.js";

/** The server sends a comment on an idle stream about every 10 s. A silent connection is dead. */
const SILENCE_MS = 45_000;

const TERMINAL = new Set<string>([
  "job.succeeded", "job.failed", "job.canceled", "job.expired",
] satisfies JobEvent["type"][]);
const ENDED = new Set<string>(["succeeded", "failed", "canceled", "expired"] satisfies JobState[]);

/** Whether a job in this state has ended. A state that only a newer server knows counts as active. */
export function isEnded(state: JobState): boolean {
  return ENDED.has(state);
}

export interface WatchOptions {
  signal?: AbortSignal;
  /** The `seq` of the last durable event that you have; the stream continues after it. */
  lastEventId?: string | number;
}

export async function* watch(
  transport: Transport,
  jobId: string,
  { signal, lastEventId }: WatchOptions = {},
): AsyncGenerator<JobEvent, void, undefined> {
  const policy = { ...WATCH_POLICY };
  let newestSeq = Number(lastEventId ?? 0);
  let resumeId = lastEventId === undefined ? undefined : String(lastEventId);
  let failures = 0;
  for (;;) {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (resumeId !== undefined) headers["last-event-id"] = resumeId;
    const path = `/v1/jobs/${encodeURIComponent(jobId)}/events`;
    const request: Outgoing = { method: "GET", path, headers, signal, isRepeatable: true };
    const deadline = new Deadline(SILENCE_MS, signal);
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    try {
      const response = await transport.open(request, deadline);
      // Nothing comes after the id that the request has.
      if (response.status === 204) return;
      if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
        throw new PhoenixUnreachable("the answer is no event stream");
      }
      reader = response.body!.getReader();
      const parser = new SseParser();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await transport.reading(deadline, () => reader!.read());
        // A stream that ends before its job was rotated or drained. The server expects a new connection.
        if (done) throw new PhoenixUnreachable("the stream ended before the job did");
        deadline.extend();
        for (const { data, id } of parser.feed(decoder.decode(value, { stream: true }))) {
          const event = parse(data);
          failures = 0;
          if (event.type === "snapshot") {
            // A database restored from a backup may be behind the events seen here. The database is right.
            newestSeq = Math.min(newestSeq, event.seq);
            // After the last number of an ended job the server would answer 204 without its terminal event.
            resumeId = isEnded(event.job.state) ? undefined : String(event.seq);
          } else if (id !== undefined) {
            if (event.seq <= newestSeq) continue;
            newestSeq = event.seq;
            resumeId = id;
          }
          yield event;
          if (TERMINAL.has(event.type)) return;
        }
        policy.firstDelayMs = Math.min(parser.retryMs ?? policy.firstDelayMs, policy.longestDelayMs);
      }
    } catch (error) {
      failures += 1;
      await transport.pause(error, failures, policy, request);
    } finally {
      deadline.close();
      // Rejects if the connection has broken, which is of no interest any more.
      reader?.cancel().catch(() => undefined);
    }
  }
}

function parse(data: string): JobEvent {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw new PhoenixUnreachable("the stream has an event that is no JSON", cause);
  }
}

