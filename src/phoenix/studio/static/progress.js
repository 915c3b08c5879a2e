// What an event changes in a job. Pure: jobs are the API's own, and are replaced, not altered.

export const isOver = (job) => !["held", "queued", "running"].includes(job.state);

const nothingLeft = { eta_s: null, waiting_reason: null };

export function applyEvent(job, event) {
  switch (event.type) {
    case "snapshot":
      return { ...event.job, previews: job.previews };
    case "job.queue":
      return { ...job, queue_position: event.queue_position, waiting_reason: event.waiting_reason, eta_s: event.eta_s };
    case "clip.started":
      return withClip(
        { ...job, state: "running", waiting_reason: null },
        event,
        { state: "running", step: 0, progress: 0 },
      );
    case "clip.progress":
      return withClip(
        { ...job, state: "running", waiting_reason: null, progress: event.job_progress, eta_s: event.job_eta_s },
        event,
        { state: "running", step: event.step, steps: event.steps, progress: event.progress },
      );
    case "clip.preview":
      return { ...job, previews: { ...job.previews, [event.clip_index]: event.image } };
    case "clip.succeeded":
      return withClip(
        { ...job, progress: event.progress },
        event,
        { state: "succeeded", progress: 1, url: event.url, warnings: event.warnings, checks: event.checks },
      );
    case "clip.retrying":
      return withClip(job, event, { state: "queued", progress: 0, step: 0 });
    case "clip.failed":
      return withClip(job, event, { state: "failed", error: event.error });
    case "job.assembling":
      return { ...job, isAssembling: true, waiting_reason: null };
    case "job.succeeded":
      return { ...job, state: "succeeded", progress: 1, output: event.output, timings: event.timings, ...nothingLeft };
    case "job.failed":
    case "job.canceled":
    case "job.expired":
      return { ...job, state: event.type.slice(4), error: event.error ?? null, ...nothingLeft };
    case "job.approved":
      return { ...job, state: "queued", waiting_reason: null };
    case "job.started":
      return { ...job, state: "running", queue_position: null, waiting_reason: null };
    default:
      return job;
  }
}

function withClip(job, event, changes) {
  const clips = job.clips.map((clip) =>
    clip.index === event.clip_index ? { ...clip, attempt: event.attempt, ...changes } : clip,
  );
  return { ...job, clips };
}
