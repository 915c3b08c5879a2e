// Follows one job's event stream: with the key in a header, which EventSource cannot send, and with its resume rules.

import { authorization, problemOf } from "./api.js";

const TERMINAL = new Set(["job.succeeded", "job.failed", "job.canceled", "job.expired"]);
const LONGEST_DELAY_MS = 30_000;

// Calls onEvent until the terminal event. Ends early when signal is aborted; throws a Problem that is final.
export async function follow(jobId, onEvent, signal) {
  const place = { id: "", retryMs: 2000 };
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      for await (const event of oneConnection(jobId, place, signal)) {
        failures = 0;
        onEvent(event);
        if (TERMINAL.has(event.type)) return;
      }
      if (place.isOver) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    }
    // Ended before the job did: the server was restarted, or the network failed.
    await sleep(Math.min(place.retryMs * 2 ** failures, LONGEST_DELAY_MS), signal);
  }
}

async function* oneConnection(jobId, place, signal) {
  const headers = { Accept: "text/event-stream", ...authorization() };
  if (place.id) headers["Last-Event-ID"] = place.id;
  const response = await fetch(`/v1/jobs/${jobId}/events`, { headers, signal, cache: "no-store" });
  if (!response.ok) throw await problemOf(response);
  place.isOver = response.status === 204;
  if (place.isOver) return;
  for await (const frame of frames(response.body)) {
    if (frame.retry) place.retryMs = Number(frame.retry);
    if (frame.data) yield JSON.parse(frame.data);
    // Only after it was dealt with.
    if (frame.id) place.id = frame.id;
  }
}

// Frames end with a blank line; one that is cut off is dropped, and comes again after the reconnection.
export async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      yield* blocks.map(parse);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const frame = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (name) frame[name] = value;
  }
  return frame;
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
