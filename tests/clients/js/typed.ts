// Compiles: what the types promise to a program. The tests change single words of it.
import { JobFailed, Phoenix, PhoenixError, PhoenixProblem, type EventOf, type Job, type JobEvent } from "@phoenix-video/client";
import { createProxy, toNodeListener } from "@phoenix-video/client/proxy";
import { useJob, useReel } from "@phoenix-video/client/react";
import { verifyWebhook } from "@phoenix-video/client/webhooks";

const phoenix = new Phoenix({ baseUrl: "http://127.0.0.1:8080", retry: { attempts: 2 } });

export function describe(event: JobEvent): string {
  switch (event.type) {
    case "clip.progress":
      return `${event.step} of ${event.steps}`;
    case "job.succeeded":
      return event.output.url;
    case "job.failed":
      return event.error.code;
    default:
      return event.type;
  }
}

export async function make(): Promise<Job> {
  const job = await phoenix.run(
    { model: "animatic", clips: [{ prompt: "a", duration_s: 1 }] },
    { onProgress: ({ progress, etaS }) => progress.toFixed(1) + (etaS ?? 0).toFixed(), idempotencyKey: "one" },
  );
  const edited = await phoenix.edit(job.id, { clips: [{ op: "reroll", index: 0 }] });
  for await (const event of phoenix.watch(edited.id)) describe(event);
  const queue = await phoenix.call("get", "/v1/workers");
  const deleted: undefined = await phoenix.call("delete", "/v1/jobs/{job_id}", { path: { job_id: job.id } });
  const depth = await phoenix.call("get", "/v1/queue");
  return queue.data.length && depth && !deleted ? job : edited;
}

export function explain(error: unknown): string {
  if (error instanceof JobFailed) return error.job.state;
  if (error instanceof PhoenixProblem) return error.pointer ?? error.errors.map((each) => each.detail).join();
  return error instanceof PhoenixError ? `${error.code} ${error.kind} ${error.retriable} ${error.requestId}` : "";
}

export function useBoth(): string {
  const { progress } = useJob(phoenix, null);
  const { submit, isRunning } = useReel(phoenix);
  return `${progress?.waitingReason?.detail} ${isRunning} ${typeof submit}`;
}

export const listener = toNodeListener(createProxy({ baseUrl: "", apiKey: "", authorize: ({ jobId }) => jobId !== null }));
export const seconds = (event: EventOf<"clip.progress">) => event.job_eta_s;
export const payload = async (request: Request) => (await verifyWebhook(await request.text(), request.headers, "")).data.state;
