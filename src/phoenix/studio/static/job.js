// What a job is called, and what is said of it in one line.

import { bytes, seconds } from "./dom.js";
import { isOver } from "./progress.js";

export function titleOf(job) {
  if (job.title) return job.title;
  const first = job.clips[0]?.prompt ?? `${job.kind} ${job.id.slice(-6)}`;
  return job.clips.length > 1 ? `${first} +${job.clips.length - 1}` : first;
}

export function factsOf(job) {
  const reused = job.clips.filter((clip) => clip.reused).length;
  const parts = [job.model, job.clips.length ? counted(job.clips.length, "clip") : job.kind];
  if (reused) parts.push(`${reused} reused`);
  if (job.draft_of) parts.push("draft");
  if (job.state === "held") parts.push(job.waiting_reason?.detail);
  if (job.state === "queued") parts.push(job.waiting_reason?.detail ?? placeOf(job));
  if (job.state === "running") parts.push(`${Math.round(job.progress * 100)} %`, job.waiting_reason?.detail);
  if (!isOver(job) && job.eta_s != null) parts.push(`${seconds(job.eta_s)} left`);
  if (job.output) {
    const { width, height, duration_s, size_bytes } = job.output;
    parts.push(width && `${width}×${height}`, seconds(duration_s), bytes(size_bytes));
  }
  if (job.timings?.total_s != null) parts.push(`took ${seconds(job.timings.total_s)}`);
  parts.push(when(new Date(job.created_at)), job.id);
  return parts.filter(Boolean).join(" · ");
}

export const counted = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export function when(time) {
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString() : time.toLocaleString();
}

function placeOf(job) {
  if (job.queue_position == null) return "waiting";
  return job.queue_position ? `${job.queue_position} ahead` : "next";
}
