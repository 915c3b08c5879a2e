// A real server on a port of its own, for tests that script its answers.
import { once } from "node:events";
import { createServer } from "node:http";

/** Calls `answer(request, response, number)` for the requests in order, from 1. Ends with the test `t`. */
export async function serve(t, answer) {
  const seen = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    seen.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
    await answer(request, response, seen.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections?.();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

/** A URL at which nothing listens. */
export async function nowhere() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}

export function json(response, status, body, headers = {}) {
  const type = status < 400 ? "application/json" : "application/problem+json";
  response.writeHead(status, { "content-type": type, ...headers }).end(JSON.stringify(body));
}

export function problem(response, status, code, headers) {
  json(response, status, { status, code, detail: `it is ${code}`, request_id: "req_1", errors: [] }, headers);
}

export const JOB = {
  id: "job_1", kind: "reel", state: "queued", progress: 0, eta_s: null, queue_position: 0, waiting_reason: null,
  clips: [{ index: 0, progress: 0, signed_url: null }], output: null, error: null, request_id: "req_1", last_seq: 1,
};

/** An event as the server writes it. Without `seq`, it is ephemeral. */
export function frame(type, fields = {}, id) {
  const data = JSON.stringify({ type, job_id: "job_1", seq: id ?? 0, at: "2026-01-31T12:00:00Z", ...fields });
  return `${id === undefined ? "" : `id: ${id}\n`}event: ${type}\ndata: ${data}\n\n`;
}

export function stream(response, ...frames) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const each of frames) response.write(each);
}

/** Retries at once. */
export const QUICK = { attempts: 5, firstDelayMs: 1, longestDelayMs: 2000 };

export async function collect(events) {
  const found = [];
  for await (const event of events) found.push(event);
  return found;
}
