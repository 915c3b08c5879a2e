// Written once for both generators: a switch that compiles only while the union is told apart by `type` and complete.
import type { components } from "./openapi_typescript/schema.js";

export type JobEvent = components["schemas"]["JobEvent"];

export function nameOf(event: JobEvent): string {
  switch (event.type) {
    case "snapshot":
      return `snapshot of ${event.job.state}`;
    case "clip.started":
      return `${event.type} ${event.steps}`;
    case "clip.progress":
      return `${event.type} ${event.step}`;
    case "clip.succeeded":
      return `${event.type} ${event.artifact_id}`;
    case "clip.retrying":
      return `${event.type} ${event.reason.code}`;
    case "clip.preview":
      return `${event.type} ${event.image.length}`;
    case "job.queue":
      return `${event.type} ${event.queue_position}`;
    case "clip.failed":
    case "job.failed":
    case "job.expired":
      return `${event.type} ${event.error.code}`;
    case "job.succeeded":
      return `${event.type} ${event.output.duration_s}`;
    case "job.awaiting_approval":
      return `${event.type} ${event.draft_job_id}`;
    case "job.queued":
    case "job.approved":
    case "job.started":
    case "job.assembling":
    case "job.canceled":
      return event.type;
    default: {
      const impossible: never = event;
      return impossible;
    }
  }
}
