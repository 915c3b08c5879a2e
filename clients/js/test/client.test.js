import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { JobFailed, Phoenix, PhoenixProblem, PhoenixUnreachable } from "@phoenix-video/client";

import { frame, JOB, json, nowhere, problem, QUICK, serve, stream } from "./serving.js";

test("a submit that failed in any way is sent again with its key", async (t) => {
  const { url, seen } = await serve(t, (request, response, number) => {
    if (number === 1) return request.socket.destroy();
    if (number === 2) return response.writeHead(502).end("<html>a gateway</html>");
    if (number === 3) return problem(response, 503, "QUEUE_FULL", { "retry-after": "0" });
    return json(response, 202, JOB);
  });
  const job = await new Phoenix({ baseUrl: url, retry: QUICK }).submit("a red balloon");

  assert.equal(job.id, "job_1");
  assert.equal(seen.length, 4);
  assert.match(seen[0].headers["idempotency-key"], /^[0-9a-f]{32}$/);
  assert.equal(new Set(seen.map((each) => each.headers["idempotency-key"])).size, 1);
  assert.deepEqual(JSON.parse(seen[3].body), { clips: [{ prompt: "a red balloon" }] });
});

test("a lip-sync is posted with a key of its own", async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 202, JOB));
  const request = { video: "art_1", audio: "art_2", model: "drawn-mouth" };
  const job = await new Phoenix({ baseUrl: url, retry: QUICK }).lipsync(request);

  assert.equal(job.id, "job_1");
  assert.deepEqual([seen[0].method, seen[0].url], ["POST", "/v1/lipsyncs"]);
  assert.match(seen[0].headers["idempotency-key"], /^[0-9a-f]{32}$/);
  assert.deepEqual(JSON.parse(seen[0].body), request);
});

test("a given key is used, and is on the error when the client gives up", async (t) => {
  const { url, seen } = await serve(t, (_, response) => problem(response, 503, "UNAVAILABLE"));
  const submit = new Phoenix({ baseUrl: url, retry: { ...QUICK, attempts: 2 } }).submit(["a", "b"], { idempotencyKey: "mine" });

  await assert.rejects(submit, { idempotencyKey: "mine", kind: "not-done", retriable: true, code: "UNAVAILABLE" });
  assert.deepEqual(seen.map((each) => each.headers["idempotency-key"]), ["mine", "mine"]);
});

test("a refused request names its errors, and is not sent again", async (t) => {
  const fault = { pointer: "/clips/0/prompt", detail: "it is empty" };
  const { url, seen } = await serve(t, (_, response) =>
    json(response, 422, { status: 422, code: "INVALID_REQUEST", detail: "no", request_id: "req_7", errors: [fault] }),
  );
  const error = await new Phoenix({ baseUrl: url, retry: QUICK }).submit("").catch((thrown) => thrown);

  assert.ok(error instanceof PhoenixProblem);
  assert.deepEqual([error.code, error.status, error.pointer, error.requestId], ["INVALID_REQUEST", 422, "/clips/0/prompt", "req_7"]);
  assert.deepEqual([error.kind, error.retriable, error.errors], ["refused", false, [fault]]);
  assert.equal(seen.length, 1);
});

test("a request that would take effect twice is not sent again while it is in doubt", async (t) => {
  const { url, seen } = await serve(t, (request) => request.socket.destroy());

  await assert.rejects(new Phoenix({ baseUrl: url, retry: QUICK }).retry("job_1"), PhoenixUnreachable);
  assert.equal(seen.length, 1);
});

test("nothing that listens is an error that can be tried again", async () => {
  const phoenix = new Phoenix({ baseUrl: await nowhere(), retry: { attempts: 1 } });

  await assert.rejects(phoenix.models(), { name: "PhoenixUnreachable", code: "UNREACHABLE", kind: "not-done", retriable: true });
});

test("an answer that does not come is given up after the time", async (t) => {
  const { url } = await serve(t, () => {});
  const phoenix = new Phoenix({ baseUrl: url, timeoutMs: 50, retry: { attempts: 1 } });

  await assert.rejects(phoenix.models(), /nothing for 0.05 s/);
});

test("a signal ends a request with its own reason", async (t) => {
  const { url } = await serve(t, () => {});
  const controller = new AbortController();
  const models = new Phoenix({ baseUrl: url }).models({ signal: controller.signal });
  controller.abort(new Error("enough"));

  await assert.rejects(models, /enough/);
});

test("run reports progress, and returns the job with a URL that plays", async (t) => {
  const ended = { ...JOB, state: "succeeded", output: { url: "/v1/x", signed_url: "/v1/x?token=t" } };
  const { url, seen } = await serve(t, (request, response) => {
    if (request.method === "POST") return json(response, 202, JOB);
    if (!request.url.endsWith("/events")) return json(response, 200, ended);
    const progress = { clip_index: 0, progress: 0.5, job_progress: 0.4, job_eta_s: 3 };
    stream(response, frame("snapshot", { job: JOB, seq: 1 }), frame("clip.progress", progress), frame("clip.preview"));
    return response.end(frame("job.succeeded", {}, 2));
  });
  const shares = [];
  const job = await new Phoenix({ baseUrl: url }).run("a", { onProgress: (each) => shares.push([each.state, each.progress, each.etaS]) });

  assert.deepEqual(shares, [["queued", 0, null], ["queued", 0, null], ["running", 0.4, 3], ["succeeded", 1, 0]]);
  assert.equal(job.output.signed_url, `${url}/v1/x?token=t`);
  assert.equal(seen.at(-1).url, "/v1/jobs/job_1?signed=true");
});

test("a job that fails is an error with its code and whether a retry can help", async (t) => {
  const failed = { ...JOB, state: "failed", error: { code: "GPU_OOM", message: "too large", retriable: true } };
  const { url } = await serve(t, (request, response) => {
    if (!request.url.endsWith("/events")) return json(response, 200, failed);
    stream(response);
    return response.end(frame("job.failed", { error: failed.error }, 2));
  });
  const error = await new Phoenix({ baseUrl: url }).waitFor("job_1").catch((thrown) => thrown);

  assert.ok(error instanceof JobFailed);
  assert.deepEqual([error.code, error.retriable, error.job.state, error.requestId], ["GPU_OOM", true, "failed", "req_1"]);
});

test("a download continues where its connection broke, and is compared with the server's digest", async (t) => {
  const bytes = Buffer.from("a film of some bytes");
  const output = { url: "/v1/x", size_bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  const { url, seen } = await serve(t, (_, response, number) => {
    if (number > 1) return response.writeHead(206).end(bytes.subarray(7));
    response.writeHead(200, { "content-length": bytes.length }).write(bytes.subarray(0, 7), () => response.destroy());
    return undefined;
  });
  const phoenix = new Phoenix({ baseUrl: url, retry: QUICK });
  const job = { ...JOB, state: "succeeded", output };

  assert.equal(await (await phoenix.download(job)).text(), bytes.toString());
  assert.equal(seen[1].headers.range, "bytes=7-");
});

test("a download with other bytes is refused", async (t) => {
  const { url } = await serve(t, (_, response) => response.end("other"));
  const job = { ...JOB, state: "succeeded", output: { url: "/v1/x", size_bytes: 5, sha256: "00" } };

  await assert.rejects(new Phoenix({ baseUrl: url }).download(job), { code: "CORRUPTED" });
});

test("a job without a result has nothing to download", async () => {
  await assert.rejects(new Phoenix().download(JOB), { code: "NO_OUTPUT" });
});

test("a call fills its path and its query, and sends the key", async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 200, { data: [] }));
  const phoenix = new Phoenix({ baseUrl: `${url}/v1/`, apiKey: "phx_1" });
  await phoenix.call("get", "/v1/jobs", { query: { limit: 2, tag: ["a b", "c"] } });
  await phoenix.call("get", "/v1/jobs/{job_id}", { path: { job_id: "../key" } });

  assert.deepEqual(seen.map((each) => each.url), ["/v1/jobs?limit=2&tag=a+b&tag=c", "/v1/jobs/..%2Fkey"]);
  assert.equal(seen[0].headers.authorization, "Bearer phx_1");
});
