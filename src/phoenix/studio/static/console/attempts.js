// Where the attempts of a job are on its timeline. Pure.

import { bytes, seconds } from "../dom.js";

export function partOf({ task, index }) {
  const names = { render: "Clip", segment: "Clip for players", narrate: "Narration of clip", soundtrack: "Soundtrack", assemble: "Joining" };
  const name = names[task] ?? task;
  return index == null ? name : `${name} ${index + 1}`;
}

// From the submission to the end, or to `now`, in milliseconds.
export function spanOf(job, attempts, now) {
  const start = Date.parse(job.created_at);
  const ends = attempts.map(({ ended_at: end }) => (end ? Date.parse(end) : now));
  const end = Math.max(job.finished_at ? Date.parse(job.finished_at) : now, ...ends);
  return { start, end: Math.max(end, start + 1) };
}

// [{ kind, name, from, to }] as shares of the span: the wait, then each stage. A running attempt is one piece.
export function piecesOf(attempt, { start, end }, now) {
  const place = (time) => Math.min(Math.max((time - start) / (end - start), 0), 1);
  const began = Date.parse(attempt.started_at);
  const ended = attempt.ended_at ? Date.parse(attempt.ended_at) : now;
  const pieces = [{ kind: "wait", name: `waited ${seconds(attempt.waited_s)}`, from: place(began - attempt.waited_s * 1000), to: place(began) }];
  let at = began;
  for (const [name, lasted] of Object.entries(attempt.stages)) {
    const until = Math.min(at + lasted * 1000, ended);
    pieces.push({ kind: name, name: `${name} ${seconds(lasted)}`, from: place(at), to: place(until) });
    at = until;
  }
  // What no stage has timed.
  if (at < ended) pieces.push({ kind: attempt.ended_at ? "rest" : "running", name: attempt.state, from: place(at), to: place(ended) });
  return pieces.filter(({ from, to }) => to > from);
}

export function describeStages({ stages }) {
  return Object.entries(stages).map(([name, lasted]) => `${name} ${seconds(lasted)}`).join(", ");
}

// The cells of the table.
export function cellsOf(attempt) {
  const took = attempt.ended_at ? (Date.parse(attempt.ended_at) - Date.parse(attempt.started_at)) / 1000 : null;
  return [
    String(attempt.number),
    attempt.state,
    seconds(attempt.waited_s),
    took == null ? "runs" : seconds(took),
    describeStages(attempt),
    attempt.peak_memory_bytes == null ? "" : bytes(attempt.peak_memory_bytes),
    attempt.worker_id?.slice(-6) ?? "",
    attempt.error ? `${attempt.error.code}: ${attempt.error.message}` : "",
  ];
}
