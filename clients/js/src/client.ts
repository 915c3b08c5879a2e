import type { Answer, CallArguments, Method, PathOf, SendOptions } from "./calls.js";
import { downloadContent } from "./download.js";
import { JobFailed } from "./errors.js";
import type { paths } from "./openapi.js";
import { advance, type Progress, progressOf } from "./progress.js";
import { type Outgoing, type PhoenixOptions, Transport } from "./transport.js";
import type { Artifact, EditRequest, Job, JobEvent, LipsyncRequest, MediaUrls, Model, ReelRequest, StitchRequest } from "./types.js";
import { isEnded, watch, type WatchOptions } from "./watch.js";

export interface FollowOptions {
  /** Ends the waiting, and leaves the job as it is. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  onEvent?: (event: JobEvent) => void;
}

/** A reel, or the prompt of its only clip, or the prompts of its clips. */
export type Reel = ReelRequest | string | readonly string[];

interface UntypedOptions {
  path?: Record<string, string | number>;
  query?: Record<string, unknown>;
  body?: unknown;
}

/** Operations that take an Idempotency-Key. */
const KEYED = /\/(reels|stitches|soundtracks|lipsyncs|edits|storyboards|messages|videos|remix|extensions|storyboards\/[^/]+\/retry)$/;
/** Operations that change nothing more when they are repeated. */
const HARMLESS = /\/(cancel|approve|media-tokens|stream-tokens|pause|resume)$/;

/** A client of one server. Its methods throw `PhoenixError`, or the reason of your signal. */
export class Phoenix {
  readonly #transport: Transport;

  constructor(options: PhoenixOptions = {}) {
    this.#transport = new Transport(options);
  }

  /**
   * Makes a reel, and returns its job once its video is there: `job.output.signed_url` plays in a `<video>`.
   *
   * Throws `JobFailed` for a job that ends without a video.
   */
  async run(reel: Reel, options: FollowOptions & SendOptions = {}): Promise<Job> {
    const job = await this.submit(reel, options);
    return this.waitFor(job, options);
  }

  /** Submits a reel. Returns its queued job. */
  async submit(reel: Reel, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/reels", { ...options, body: reelOf(reel) });
  }

  /** Submits a job that joins videos. */
  async stitch(request: StitchRequest, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/stitches", { ...options, body: request });
  }

  /** Submits a job that makes the face in a video or a picture say a sound. */
  async lipsync(request: LipsyncRequest, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/lipsyncs", { ...options, body: request });
  }

  /** Submits changes of a reel that has ended. Returns the new job; clips that stay as they are are reused. */
  async edit(jobId: string, changes: EditRequest, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/jobs/{job_id}/edits", { ...options, path: { job_id: jobId }, body: changes });
  }

  /**
   * The events of a job: a snapshot, and then what happens until the job ends.
   *
   * Reconnects by itself and resumes where it was. Durable events arrive once and without a gap. Leave the loop, or abort
   * the signal, to stop.
   */
  watch(jobId: string, options?: WatchOptions): AsyncGenerator<JobEvent, void, undefined> {
    return watch(this.#transport, jobId, options);
  }

  /** Returns the job once it has succeeded. Throws `JobFailed` if it ends without a result. */
  async waitFor(job: Job | string, { signal, onProgress, onEvent }: FollowOptions = {}): Promise<Job> {
    const jobId = typeof job === "string" ? job : job.id;
    let progress: Progress | undefined;
    const publish = (next: Progress) => {
      if (next !== progress) onProgress?.(next);
      progress = next;
    };
    if (typeof job !== "string") publish(progressOf(job));
    for await (const event of this.watch(jobId, { signal })) {
      onEvent?.(event);
      if (event.type === "snapshot") publish(progressOf(event.job));
      else if (progress) publish(advance(progress, event));
    }
    const ended = await this.getJob(jobId, { signal, signed: true });
    if (ended.state === "succeeded") return ended;
    // Somebody has retried it meanwhile.
    if (!isEnded(ended.state)) return this.waitFor(jobId, { signal, onProgress, onEvent });
    throw new JobFailed(ended);
  }

  /** The job as it is now. With `signed`, the URLs of its media work without a key. */
  async getJob(jobId: string, { signed, ...options }: SendOptions & { signed?: boolean } = {}): Promise<Job> {
    const query = signed ? { signed: true } : undefined;
    const job = await this.call("get", "/v1/jobs/{job_id}", { ...options, path: { job_id: jobId }, query });
    for (const file of [job.output, ...job.clips]) {
      if (file?.signed_url) file.signed_url = this.#transport.url(file.signed_url);
    }
    return job;
  }

  /** Ends a job; a running one within about a step. A job that has ended stays as it is. */
  async cancel(jobId: string, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/jobs/{job_id}/cancel", { ...options, path: { job_id: jobId } });
  }

  /** Queues a job again that did not succeed. Clips that are done are kept. */
  async retry(jobId: string, options: SendOptions = {}): Promise<Job> {
    return this.call("post", "/v1/jobs/{job_id}/retry", { ...options, path: { job_id: jobId } });
  }

  async models(options: SendOptions = {}): Promise<Model[]> {
    return (await this.call("get", "/v1/models", options)).data;
  }

  /** URLs that play the media of a job without a key until they expire; also while the job still runs. */
  async signedUrls(jobId: string, options: SendOptions = {}): Promise<MediaUrls> {
    const urls = await this.call("post", "/v1/jobs/{job_id}/media-tokens", { ...options, path: { job_id: jobId } });
    const absolute = <T extends string | null>(url: T) => (url === null ? url : (this.#transport.url(url) as T));
    return {
      ...urls,
      content: absolute(urls.content),
      thumbnail: absolute(urls.thumbnail),
      playlist: absolute(urls.playlist),
      captions: absolute(urls.captions),
      clips: urls.clips.map(absolute),
    };
  }

  /** Uploads a sound, a picture or a video: a `File` of an input, or a `Blob` with a `filename`. */
  async upload(file: Blob, { filename, signal }: { filename?: string; signal?: AbortSignal } = {}): Promise<Artifact> {
    const body = new FormData();
    body.append("file", file, filename ?? (file as { name?: string }).name ?? "upload");
    return this.#send({ method: "POST", path: "/v1/uploads", body, signal, isRepeatable: false });
  }

  /** The video of a job, complete: its size and, where the platform can, its SHA-256 are compared with the server's. */
  async download(job: Job | string, { signal }: { signal?: AbortSignal } = {}): Promise<Blob> {
    const found = typeof job === "string" ? await this.getJob(job, { signal }) : job;
    return downloadContent(this.#transport, found, signal);
  }

  /** Any operation of the API, typed by its method and path: `phoenix.call("get", "/v1/jobs", { query: { limit: 10 } })`. */
  async call<M extends Method, P extends PathOf<M> & keyof paths>(
    method: M,
    path: P,
    ...[given]: CallArguments<M, P>
  ): Promise<Answer<M, P>> {
    const options = (given ?? {}) as unknown as SendOptions & UntypedOptions;
    const filled = fillPath(path, options.path);
    const isKeyed = method === "post" && KEYED.test(filled);
    return this.#send({
      method: method.toUpperCase(),
      path: filled + queryOf(options.query),
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      headers: { accept: "application/json", ...options.headers },
      signal: options.signal,
      idempotencyKey: isKeyed ? (options.idempotencyKey ?? newKey()) : undefined,
      isRepeatable: isKeyed || method === "get" || method === "patch" || HARMLESS.test(filled),
    });
  }

  async #send<T>(request: Outgoing): Promise<T> {
    const text = await this.#transport.send(request);
    return (text === "" ? undefined : JSON.parse(text)) as T;
  }
}

function reelOf(reel: Reel): ReelRequest {
  if (typeof reel === "string") return { clips: [{ prompt: reel }] };
  return isPrompts(reel) ? { clips: reel.map((prompt) => ({ prompt })) } : reel;
}

function isPrompts(reel: ReelRequest | readonly string[]): reel is readonly string[] {
  return Array.isArray(reel);
}

function fillPath(path: string, values: Record<string, string | number> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name]!));
}

function queryOf(query: Record<string, unknown> = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined && one !== null) params.append(name, String(one));
  }
  const text = params.toString();
  return text && `?${text}`;
}

/** A key for one request. Pages without HTTPS, and Node 18, have no `crypto.randomUUID`. */
function newKey(): string {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.random() * 256));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
