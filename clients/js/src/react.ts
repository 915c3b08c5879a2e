import { useCallback, useEffect, useState } from "react";

import type { SendOptions } from "./calls.js";
import type { Phoenix, Reel } from "./client.js";
import { JobFailed } from "./errors.js";
import type { Progress } from "./progress.js";
import type { Job } from "./types.js";

export interface JobView {
  /** Null until the first event. */
  progress: Progress | null;
  /** The job once it has ended; `job.output.signed_url` plays in a `<video>`. */
  job: Job | null;
  /** A `JobFailed` for a job without a video, or another `PhoenixError`. */
  error: Error | null;
}

export interface ReelView extends JobView {
  jobId: string | null;
  /** From `submit` until the end of the job, or until an error. */
  isRunning: boolean;
  submit: (reel: Reel, options?: SendOptions) => Promise<void>;
  /** Ends the job on the server. */
  cancel: () => Promise<void>;
}

const NOTHING: JobView = { progress: null, job: null, error: null };

/** Follows a job, and stops when the component goes away. `phoenix` must stay the same object between renders. */
export function useJob(phoenix: Phoenix, jobId: string | null): JobView {
  const [view, setView] = useState(NOTHING);
  useEffect(() => {
    setView(NOTHING);
    if (!jobId) return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    const change = (part: Partial<JobView>) => {
      if (!signal.aborted) setView((before) => ({ ...before, ...part }));
    };
    phoenix.waitFor(jobId, { signal, onProgress: (progress) => change({ progress }) }).then(
      (job) => change({ job }),
      (error) => change({ error, job: error instanceof JobFailed ? error.job : null }),
    );
    return () => controller.abort();
  }, [phoenix, jobId]);
  return view;
}

/** Submits a reel and follows it. A second `submit` follows the new reel; the first one continues on the server. */
export function useReel(phoenix: Phoenix): ReelView {
  const [jobId, setJobId] = useState<string | null>(null);
  const [isSubmitting, setIsSubmitting] = useState(false);
  const [refusal, setRefusal] = useState<Error | null>(null);
  const view = useJob(phoenix, jobId);
  const submit = useCallback(
    async (reel: Reel, options?: SendOptions) => {
      setIsSubmitting(true);
      setJobId(null);
      setRefusal(null);
      try {
        setJobId((await phoenix.submit(reel, options)).id);
      } catch (error) {
        setRefusal(error as Error);
      } finally {
        setIsSubmitting(false);
      }
    },
    [phoenix],
  );
  const cancel = useCallback(async () => {
    if (jobId) await phoenix.cancel(jobId);
  }, [phoenix, jobId]);
  const error = refusal ?? view.error;
  return { ...view, error, jobId, isRunning: isSubmitting || (jobId !== null && !view.job && !error), submit, cancel };
}
