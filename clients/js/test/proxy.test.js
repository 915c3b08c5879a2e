import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { Phoenix } from "@phoenix-video/client";
import { createProxy, toNodeListener } from "@phoenix-video/client/proxy";

import { collect, frame, JOB, json, nowhere, serve, stream } from "./serving.js";

const SITE = "http://site.example";

function proxyTo(url, options = {}) {
  return createProxy({ baseUrl: url, apiKey: "phx_secret", authorize: () => true, ...options });
}

/** What the page gets for one request. */
function ask(proxy, method, path, headers = {}) {
  return proxy(new Request(`${SITE}/api/phoenix${path}`, { method, headers, body: method === "POST" ? "{}" : undefined }));
}

test("the key is added, and what a page may not send is left out", async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 200, JOB, { "set-cookie": "a=1", etag: '"1"', "x-secret": "1" }));
  const answer = await ask(proxyTo(url), "GET", "/v1/jobs/job_1?signed=true", {
    authorization: "Bearer phx_of_the_page", cookie: "session=1", "last-event-id": "4", "x-forwarded-for": "1.2.3.4",
  });

  assert.equal(seen[0].url, "/v1/jobs/job_1?signed=true");
  assert.equal(seen[0].headers.authorization, "Bearer phx_secret");
  assert.equal(seen[0].headers["last-event-id"], "4");
  assert.deepEqual([seen[0].headers.cookie, seen[0].headers["x-forwarded-for"]], [undefined, undefined]);
  assert.deepEqual([answer.status, answer.headers.get("etag")], [200, '"1"']);
  assert.deepEqual([answer.headers.get("set-cookie"), answer.headers.get("x-secret")], [null, null]);
});

for (const [method, path] of [
  ["GET", "/v1/jobs"],
  ["GET", "/v1/key"],
  ["GET", "/v1/webhooks/secret"],
  ["DELETE", "/v1/jobs/job_1"],
  ["POST", "/v1/queues/gpu/pause"],
  ["GET", "/v1/jobs/job_1/../../key"],
  ["GET", "/v1/jobs/%2e%2e/key"],
  ["GET", "/metrics"],
]) {
  test(`${method} ${path} does not reach Phoenix`, async (t) => {
    const { url, seen } = await serve(t, (_, response) => json(response, 200, {}));
    const answer = await ask(proxyTo(url), method, path);

    assert.equal(answer.status, 404);
    assert.equal((await answer.json()).code, "NOT_FOUND");
    assert.equal(seen.length, 0);
  });
}

test("a visitor who may not see a job does not", async (t) => {
  const { url, seen } = await serve(t, (_, response) => json(response, 200, JOB));
  const asked = [];
  const proxy = proxyTo(url, {
    authorize: ({ method, path, jobId }) => {
      asked.push([method, path, jobId]);
      return false;
    },
  });

  assert.equal((await ask(proxy, "GET", "/v1/jobs/job_1/events")).status, 403);
  assert.deepEqual(asked, [["GET", "/v1/jobs/job_1/events", "job_1"]]);
  assert.equal(seen.length, 0);
});

test("each new job is reported", async (t) => {
  const { url } = await serve(t, (_, response) => json(response, 202, JOB, { location: "/v1/jobs/job_1" }));
  const made = [];
  await ask(proxyTo(url, { onJob: (jobId) => made.push(jobId) }), "POST", "/v1/reels");

  assert.deepEqual(made, ["job_1"]);
});

for (const [what, headers, status] of [
  ["the same origin", { "sec-fetch-site": "same-origin" }, 202],
  ["a program", {}, 202],
  ["the same host over TLS", { origin: "https://site.example" }, 202],
  ["a host that the URL does not name", { origin: "http://app.example:3000", host: "app.example:3000" }, 202],
  ["a listed origin", { origin: "https://app.example", "sec-fetch-site": "cross-site" }, 202],
  ["another site", { "sec-fetch-site": "cross-site" }, 403],
  ["another site in an old browser", { origin: "https://evil.example" }, 403],
  ["another site for the host of this one", { origin: "https://evil.example", host: "app.example" }, 403],
  ["a sandbox", { origin: "null" }, 403],
]) {
  test(`a POST from ${what} gets ${status}`, async (t) => {
    const { url } = await serve(t, (_, response) => json(response, 202, JOB));

    assert.equal((await ask(proxyTo(url, { origins: ["https://app.example"] }), "POST", "/v1/reels", headers)).status, status);
  });
}

test("a Phoenix that does not answer is a problem document", async () => {
  const answer = await ask(proxyTo(await nowhere()), "GET", "/v1/models");

  assert.deepEqual([answer.status, (await answer.json()).code], [502, "UNAVAILABLE"]);
});

test("a client follows, submits and uploads through the proxy of a Node server", async (t) => {
  const { url, seen } = await serve(t, (request, response) => {
    if (request.url === "/v1/uploads") return json(response, 201, { id: "art_1" });
    if (request.method === "POST") return json(response, 202, JOB);
    stream(response, frame("snapshot", { job: JOB, seq: 1 }));
    return response.end(frame("job.succeeded", {}, 2));
  });
  const server = createServer(toNodeListener(proxyTo(url))).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const phoenix = new Phoenix({ baseUrl: `http://127.0.0.1:${server.address().port}/api/phoenix` });

  assert.equal((await phoenix.submit("a")).id, "job_1");
  assert.equal((await phoenix.upload(new Blob(["sound"]), { filename: "tune.wav" })).id, "art_1");
  assert.deepEqual((await collect(phoenix.watch("job_1"))).map((event) => event.type), ["snapshot", "job.succeeded"]);
  assert.deepEqual(seen.map((each) => each.headers.authorization), Array(3).fill("Bearer phx_secret"));
  assert.match(seen[1].body, /filename="tune.wav"/);
});
