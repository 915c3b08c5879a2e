import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";

import { verifyWebhook, WebhookInvalid } from "@phoenix-video/client/webhooks";

const SECRET = `whsec_${randomBytes(32).toString("base64")}`;
const NOW_S = 1_769_860_800;
const BODY = JSON.stringify({ type: "job.succeeded", timestamp: "2026-01-31T12:00:00Z", data: { job_id: "job_1" } });

function signed(body = BODY, secret = SECRET, at = NOW_S) {
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const signature = createHmac("sha256", key).update(`whd_1.${at}.${body}`).digest("base64");
  return { "webhook-id": "whd_1", "webhook-timestamp": String(at), "webhook-signature": `v1,${signature}` };
}

const verify = (headers, body = BODY, secret = SECRET) => verifyWebhook(body, headers, secret, { nowMs: NOW_S * 1000 });

test("a signed webhook gives its payload, from text and bytes, with both kinds of headers", async () => {
  assert.equal((await verify(signed())).data.job_id, "job_1");
  assert.equal((await verify(new Headers(signed()), Buffer.from(BODY))).type, "job.succeeded");
});

test("one of several signatures is enough, during a rotation", async () => {
  const other = signed(BODY, `whsec_${randomBytes(32).toString("base64")}`)["webhook-signature"];
  const headers = { ...signed(), "webhook-signature": `${other} v2,x v1,? ${signed()["webhook-signature"]}` };

  assert.equal((await verify(headers)).type, "job.succeeded");
});

for (const [what, headers, body, code] of [
  ["another body", signed(), `${BODY} `, "SIGNATURE"],
  ["another id", { ...signed(), "webhook-id": "whd_2" }, BODY, "SIGNATURE"],
  ["another secret", signed(BODY, "whsec_AAAA"), BODY, "SIGNATURE"],
  ["a signature that is no base64", { ...signed(), "webhook-signature": "v1,=" }, BODY, "SIGNATURE"],
  ["an old time", signed(BODY, SECRET, NOW_S - 301), BODY, "TIMESTAMP"],
  ["a time in the future", signed(BODY, SECRET, NOW_S + 301), BODY, "TIMESTAMP"],
  ["a time that is none", { ...signed(), "webhook-timestamp": "now" }, BODY, "HEADERS"],
  ["a missing header", { ...signed(), "webhook-id": undefined }, BODY, "HEADERS"],
  ["a body that is no JSON", signed("x"), "x", "BODY"],
]) {
  test(`a webhook with ${what} is refused`, async () => {
    const error = await verify(headers, body).catch((thrown) => thrown);

    assert.ok(error instanceof WebhookInvalid);
    assert.equal(error.code, code);
  });
}
