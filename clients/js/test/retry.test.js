import assert from "node:assert/strict";
import { test } from "node:test";

import { delayMs, kindOfStatus, kindOfThrown, maySendAgain, parseRetryAfter, sleep } from "../dist/retry.js";

const POLICY = { attempts: 4, firstDelayMs: 100, longestDelayMs: 300 };

for (const [status, code, kind] of [
  [429, "RATE_LIMITED", "not-done"],
  [503, "QUEUE_FULL", "not-done"],
  [502, "HTTP_502", "in-doubt"],
  [500, "INTERNAL", "in-doubt"],
  [507, "STORAGE_FULL", "refused"],
  [422, "INVALID_REQUEST", "refused"],
  [401, "UNAUTHENTICATED", "refused"],
  [422, "IDEMPOTENCY_MISMATCH", "key-taken"],
]) {
  test(`${status} ${code} is ${kind}`, () => assert.equal(kindOfStatus(status, code), kind));
}

test("a connection that was never made leaves the key unused", () => {
  assert.equal(kindOfThrown(new TypeError("fetch failed", { cause: { code: "ECONNREFUSED" } })), "not-done");
  assert.equal(kindOfThrown(new TypeError("fetch failed", { cause: { code: "ECONNRESET" } })), "in-doubt");
  assert.equal(kindOfThrown(new TypeError("Failed to fetch")), "in-doubt");
});

test("a request in doubt is sent again only if it takes effect once", () => {
  assert.equal(maySendAgain("in-doubt", true), true);
  assert.equal(maySendAgain("in-doubt", false), false);
  assert.equal(maySendAgain("not-done", false), true);
  assert.equal(maySendAgain("refused", true), false);
  assert.equal(maySendAgain("key-taken", true), false);
});

test("delays double up to the longest one, and end with the attempts", () => {
  assert.deepEqual([1, 2, 3, 4].map((failures) => delayMs(POLICY, failures)), [100, 200, 300, undefined]);
});

test("the server decides the delay, unless it asks for too long", () => {
  assert.equal(delayMs(POLICY, 1, 250), 250);
  assert.equal(delayMs(POLICY, 1, 301), undefined);
});

test("jitter adds up to a quarter", () => assert.equal(delayMs(POLICY, 1, 0, 1), 125));

test("both forms of Retry-After are understood", () => {
  assert.equal(parseRetryAfter("2"), 2000);
  assert.equal(parseRetryAfter("Sat, 31 Jan 2026 12:00:05 GMT", Date.UTC(2026, 0, 31, 12)), 5000);
  assert.equal(parseRetryAfter("soon"), undefined);
  assert.equal(parseRetryAfter(null), undefined);
});

test("a pause ends with its signal", async () => {
  const controller = new AbortController();
  const pause = sleep(100_000, controller.signal);
  controller.abort(new Error("enough"));

  await assert.rejects(pause, /enough/);
  await assert.rejects(sleep(100_000, controller.signal), /enough/);
});
