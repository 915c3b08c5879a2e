// Lets pages use a Phoenix server without its key: a handler for any server that speaks `Request` and `Response`.

export interface ProxiedRequest {
  /** As it came from the page, with its cookies. Its body is for the proxy: read a `clone()`. */
  request: Request;
  method: string;
  /** `/v1/reels`, `/v1/jobs/job_…/events`. */
  path: string;
  /** The job that the path names. */
  jobId: string | null;
}

export interface ProxyOptions {
  /** Where Phoenix is. */
  baseUrl: string;
  apiKey: string;
  /**
   * Whether this visitor may do this. All visitors share one key, and so see each other's jobs: check `jobId` against the
   * jobs of the visitor, which `onJob` reports.
   */
  authorize: (proxied: ProxiedRequest) => boolean | Promise<boolean>;
  /** Reports each new job, before the page gets the answer. */
  onJob?: (jobId: string, request: Request) => void | Promise<void>;
  /** More routes than `PROXY_ROUTES`, in the same form. */
  routes?: readonly string[];
  /** Pages of these origins may change something, in addition to pages of the proxy's own. */
  origins?: readonly string[];
  fetch?: typeof fetch;
}

/** What a page may ask for. Lists, deletions, keys, secrets and the fleet are left out. `*` is an id or an index. */
export const PROXY_ROUTES: readonly string[] = [
  "POST /v1/reels",
  "POST /v1/stitches",
  "POST /v1/lipsyncs",
  "POST /v1/uploads",
  "POST /v1/storyboards",
  "GET /v1/storyboards/*",
  "POST /v1/storyboards/*/messages",
  "POST /v1/storyboards/*/retry",
  "GET /v1/models",
  "GET /v1/jobs/*",
  "GET /v1/jobs/*/events",
  "GET /v1/jobs/*/content",
  "GET /v1/jobs/*/playlist.m3u8",
  "GET /v1/jobs/*/clips/*/content",
  "GET /v1/jobs/*/clips/*/segments",
  "POST /v1/jobs/*/edits",
  "POST /v1/jobs/*/cancel",
  "POST /v1/jobs/*/retry",
  "POST /v1/jobs/*/approve",
  "POST /v1/jobs/*/media-tokens",
];

const REQUEST_HEADERS = ["accept", "content-type", "idempotency-key", "if-match", "if-none-match", "if-range",
  "last-event-id", "prefer", "range", "x-request-id"];
const RESPONSE_HEADERS = ["accept-ranges", "cache-control", "content-disposition", "content-length", "content-range",
  "content-type", "etag", "idempotent-replayed", "last-modified", "retry-after", "x-accel-buffering", "x-request-id"];

/** A handler for the route under which the page has its `baseUrl`: it answers `…/v1/…` for every prefix. */
export function createProxy(options: ProxyOptions): (request: Request) => Promise<Response> {
  const { authorize, onJob, fetch: send = fetch } = options;
  const base = options.baseUrl.replace(/\/+$/, "");
  const routes = [...PROXY_ROUTES, ...(options.routes ?? [])].map(patternOf);

  return async (request) => {
    const url = new URL(request.url);
    const path = url.pathname.slice(Math.max(0, url.pathname.lastIndexOf("/v1/")));
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (!routes.some((route) => route.test(`${method} ${path}`))) return refuse(404, "NOT_FOUND", "The proxy has no such route.");
    if (method !== "GET" && !isFromOwnPage(request, url, options.origins ?? [])) {
      return refuse(403, "FORBIDDEN", "The request comes from a page of another origin.");
    }
    const jobId = /^\/v1\/jobs\/([^/]+)/.exec(path)?.[1] ?? null;
    if (!(await authorize({ request, method, path, jobId }))) return refuse(403, "FORBIDDEN", "You may not do this.");
    let answer: Response;
    try {
      answer = await send(base + path + url.search, outgoing(request, options.apiKey));
    } catch {
      if (request.signal.aborted) throw request.signal.reason;
      return refuse(502, "UNAVAILABLE", "Phoenix does not answer.");
    }
    const made = answer.ok && /\/v1\/jobs\/([^/?]+)/.exec(answer.headers.get("location") ?? "");
    if (made) await onJob?.(made[1]!, request);
    return new Response(answer.body, { status: answer.status, headers: pick(answer.headers, RESPONSE_HEADERS) });
  };
}

function patternOf(route: string): RegExp {
  return new RegExp(`^${route.replace(/[.]/g, "\\.").replaceAll("*", "[\\w-]+")}$`);
}

/** Another site could send the cookies of the visitor with a form. */
function isFromOwnPage(request: Request, url: URL, origins: readonly string[]): boolean {
  const origin = request.headers.get("origin");
  if (origin !== null && origins.includes(origin)) return true;
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin" || site === "none";
  if (origin === null) return true;
  // The host alone: behind a proxy that ends TLS, this side sees another scheme. Next.js has its own host in the URL.
  const host = origin.replace(/^https?:\/\//, "");
  return host === url.host || host === request.headers.get("host");
}

function outgoing(request: Request, apiKey: string): RequestInit {
  const headers = pick(request.headers, REQUEST_HEADERS);
  headers.set("authorization", `Bearer ${apiKey}`);
  // A compressed answer would be unpacked here, and its length would be wrong.
  headers.set("accept-encoding", "identity");
  const init: RequestInit & { duplex: "half" } = { method: request.method, headers, signal: request.signal, duplex: "half" };
  if (request.body) init.body = request.body;
  return init;
}

function pick(headers: Headers, names: readonly string[]): Headers {
  const picked = new Headers();
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) picked.set(name, value);
  }
  return picked;
}

function refuse(status: number, code: string, detail: string): Response {
  const headers = { "content-type": "application/problem+json" };
  return new Response(JSON.stringify({ status, code, title: detail, detail, errors: [] }), { status, headers });
}

/** What the proxy needs of `http.IncomingMessage`. */
export interface NodeRequest extends AsyncIterable<Uint8Array> {
  method?: string;
  url?: string;
  headers: Record<string, string | string[] | undefined>;
}

/** What the proxy needs of `http.ServerResponse`. */
export interface NodeResponse {
  destroyed: boolean;
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(chunk: Uint8Array): boolean;
  end(): unknown;
  destroy(): unknown;
  on(event: string, listener: () => void): unknown;
}

/** The handler for `node:http`, Express and other servers with the requests of Node. */
export function toNodeListener(
  handler: (request: Request) => Promise<Response>,
): (request: NodeRequest, response: NodeResponse) => Promise<void> {
  return async (request, response) => {
    const controller = new AbortController();
    let resume = () => {};
    response.on("drain", () => resume());
    response.on("close", () => {
      controller.abort();
      resume();
    });
    try {
      const answer = await handler(fromNode(request, controller.signal));
      response.writeHead(answer.status, Object.fromEntries(answer.headers));
      const reader = answer.body?.getReader();
      for (let read = await reader?.read(); read && !read.done; read = await reader!.read()) {
        // A page that reads slowly slows the reading from Phoenix down, too.
        if (!response.write(read.value) && !response.destroyed) await new Promise<void>((next) => (resume = next));
      }
      response.end();
    } catch {
      // The page has left, or Phoenix has gone in the middle of an answer.
      response.destroy();
    }
  };
}

function fromNode(request: NodeRequest, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    for (const one of [value ?? []].flat()) headers.append(name, one);
  }
  const init: RequestInit & { duplex: "half" } = { method: request.method ?? "GET", headers, signal, duplex: "half" };
  if (init.method !== "GET" && init.method !== "HEAD") init.body = streamOf(request);
  return new Request(new URL(request.url ?? "/", `http://${headers.get("host") ?? "localhost"}`), init);
}

function streamOf(chunks: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  });
}
