import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { Phoenix } from "@phoenix-video/client";

import { collect, frame, JOB, problem, serve, stream } from "./serving.js";

const RETRY = "retry: 1\n\n";
const names = (events) => events.map((event) => event.type);

test("a broken stream is resumed after its last durable event, without a gap or a repeat", async (t) => {
  const { url, seen } = await serve(t, (request, response, number) => {
    if (number === 1) {
      stream(response, RETRY, frame("snapshot", { job: JOB, seq: 1 }), frame("job.started", {}, 2));
      return setImmediate(() => request.socket.destroy());
    }
    if (number === 2) return response.writeHead(502).end();
    stream(response, frame("job.started", {}, 2), frame("clip.progress"), frame("job.assembling", {}, 3));
    return response.end(frame("job.succeeded", {}, 4));
  });
  const events = await collect(new Phoenix({ baseUrl: url }).watch("job_1"));

  assert.deepEqual(names(events), ["snapshot", "job.started", "clip.progress", "job.assembling", "job.succeeded"]);
  assert.deepEqual(seen.map((each) => each.headers["last-event-id"]), [undefined, "2", "2"]);
});

test("a stream that ends before its job is opened again", async (t) => {
  const { url, seen } = await serve(t, (_, response, number) => {
    stream(response, RETRY);
    return response.end(number === 1 ? frame("snapshot", { job: JOB, seq: 1 }) : frame("job.canceled", {}, 2));
  });

  assert.deepEqual(names(await collect(new Phoenix({ baseUrl: url }).watch("job_1"))), ["snapshot", "job.canceled"]);
  assert.equal(seen[1].headers["last-event-id"], "1");
});

test("the stream of a job that has ended before gives its terminal event", async (t) => {
  const { url } = await serve(t, (_, response) => {
    stream(response, frame("snapshot", { job: { ...JOB, state: "failed" }, seq: 5 }));
    return response.end(frame("job.failed", {}, 5));
  });

  assert.deepEqual(names(await collect(new Phoenix({ baseUrl: url }).watch("job_1"))), ["snapshot", "job.failed"]);
});

test("an answer of 204 ends the loop", async (t) => {
  const { url, seen } = await serve(t, (_, response) => response.writeHead(204).end());

  assert.deepEqual(await collect(new Phoenix({ baseUrl: url }).watch("job_1", { lastEventId: 9 })), []);
  assert.equal(seen[0].headers["last-event-id"], "9");
});

test("a database that was restored from a backup may count from an earlier number", async (t) => {
  const { url } = await serve(t, (_, response, number) => {
    if (number === 1) {
      stream(response, RETRY);
      return response.end(frame("job.started", {}, 7));
    }
    stream(response, frame("snapshot", { job: JOB, seq: 3 }));
    return response.end(frame("job.succeeded", {}, 4));
  });

  assert.deepEqual(names(await collect(new Phoenix({ baseUrl: url }).watch("job_1"))), ["job.started", "snapshot", "job.succeeded"]);
});

test("an event of a type that is not known yet comes through", async (t) => {
  const { url } = await serve(t, (_, response) => {
    stream(response, frame("job.dreaming", {}, 1));
    return response.end(frame("job.succeeded", {}, 2));
  });

  assert.deepEqual(names(await collect(new Phoenix({ baseUrl: url }).watch("job_1"))), ["job.dreaming", "job.succeeded"]);
});

test("a job that is not there is an error at once", async (t) => {
  const { url, seen } = await serve(t, (_, response) => problem(response, 404, "NOT_FOUND"));

  await assert.rejects(collect(new Phoenix({ baseUrl: url }).watch("job_1")), { code: "NOT_FOUND", retriable: false });
  assert.equal(seen.length, 1);
});

test("leaving the loop closes the connection", async (t) => {
  const closed = [];
  const { url } = await serve(t, (request, response) => {
    closed.push(once(request.socket, "close"));
    stream(response, frame("snapshot", { job: JOB, seq: 1 }));
  });
  for await (const event of new Phoenix({ baseUrl: url }).watch("job_1")) if (event.type === "snapshot") break;

  await Promise.all(closed);
});

test("a signal ends the loop with its reason", async (t) => {
  const { url } = await serve(t, (_, response) => stream(response, frame("snapshot", { job: JOB, seq: 1 })));
  const controller = new AbortController();
  const watching = (async () => {
    for await (const _ of new Phoenix({ baseUrl: url }).watch("job_1", { signal: controller.signal })) controller.abort(new Error("enough"));
  })();

  await assert.rejects(watching, /enough/);
});

test("a page that a proxy sends in place of a stream is an error that is tried again", async (t) => {
  const { url } = await serve(t, (_, response, number) => {
    if (number === 1) return response.writeHead(200, { "content-type": "text/html" }).end("<html>");
    stream(response);
    return response.end(frame("job.succeeded", {}, 1));
  });

  assert.deepEqual(names(await collect(new Phoenix({ baseUrl: url }).watch("job_1"))), ["job.succeeded"]);
});
