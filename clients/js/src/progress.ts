// How far a job is, from its events.
import type { Job, JobEvent, JobState, WaitingReason } from "./types.js";

export interface Progress {
  jobId: string;
  state: JobState;
  /** From 0 to 1; it never goes back. */
  progress: number;
  /** Estimated seconds until the job ends; null if unknown. */
  etaS: number | null;
  queuePosition: number | null;
  /** What the job waits for; null while a part of it advances. */
  waitingReason: WaitingReason | null;
  /** Of each clip by its index, from 0 to 1. */
  clips: readonly number[];
}

const STATES: Partial<Record<JobEvent["type"], JobState>> = {
  "job.awaiting_approval": "held",
  "job.queued": "queued",
  "job.started": "running",
  "job.succeeded": "succeeded",
  "job.failed": "failed",
  "job.canceled": "canceled",
  "job.expired": "expired",
};

export function progressOf(job: Job): Progress {
  return {
    jobId: job.id,
    state: job.state,
    progress: job.progress,
    etaS: job.eta_s,
    queuePosition: job.queue_position,
    waitingReason: job.waiting_reason,
    clips: job.clips.map((clip) => clip.progress),
  };
}

/** The progress after the event. The same object if the event changes nothing of it. */
export function advance(before: Progress, event: JobEvent): Progress {
  switch (event.type) {
    case "snapshot":
      return progressOf(event.job);
    case "job.queue":
      return {
        ...before,
        queuePosition: event.queue_position,
        waitingReason: event.waiting_reason,
        etaS: event.eta_s,
      };
    case "clip.progress":
      return {
        ...before,
        state: "running",
        progress: event.job_progress,
        etaS: event.job_eta_s,
        queuePosition: null,
        waitingReason: null,
        clips: withClip(before.clips, event.clip_index, event.progress),
      };
    case "clip.started":
    case "clip.retrying":
      return { ...before, clips: withClip(before.clips, event.clip_index, 0) };
    case "clip.succeeded":
      return { ...before, progress: event.progress, clips: withClip(before.clips, event.clip_index, 1) };
    case "job.succeeded":
      return { ...before, state: "succeeded", progress: 1, etaS: 0, waitingReason: null };
    default: {
      const state = STATES[event.type];
      return state ? { ...before, state } : before;
    }
  }
}

function withClip(clips: readonly number[], index: number, progress: number): readonly number[] {
  return clips.map((one, at) => (at === index ? progress : one));
}
