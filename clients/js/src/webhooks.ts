// Verifies webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com). For a server.
import { findSubtle } from "./platform.js";
import type { WebhookPayload } from "./types.js";

/** The request is not a webhook of Phoenix: answer it with 400 or 401. `code` says why. */
export class WebhookInvalid extends Error {
  override name = "WebhookInvalid";

  constructor(
    readonly code: "HEADERS" | "TIMESTAMP" | "SIGNATURE" | "BODY",
    message: string,
  ) {
    super(message);
  }
}

export interface VerifyOptions {
  /** How far the clocks may differ; 300 by default. An older webhook may have been recorded and sent again. */
  toleranceS?: number;
  nowMs?: number;
}

type Headerlike = Headers | Record<string, string | string[] | undefined>;

/**
 * The payload of a webhook, once its signature has been checked.
 *
 * `body`: the bytes as they arrived, because JSON that was parsed and written again has another signature. `secret`:
 * `GET /v1/webhooks/secret`. A delivery may arrive twice: compare `webhook-id` with those that you have seen.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: Headerlike,
  secret: string,
  { toleranceS = 300, nowMs = Date.now() }: VerifyOptions = {},
): Promise<WebhookPayload> {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!/^\d+$/.test(timestamp)) throw new WebhookInvalid("HEADERS", "webhook-timestamp is no number of seconds");
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > toleranceS) {
    throw new WebhookInvalid("TIMESTAMP", `webhook-timestamp is more than ${toleranceS} s away from now`);
  }
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const signed = concatenate(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  if (!(await isSigned(signed, signatures, secret))) {
    throw new WebhookInvalid("SIGNATURE", "no signature fits the secret and the body");
  }
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new WebhookInvalid("BODY", "the body is no JSON");
  }
}

function header(headers: Headerlike, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  if (typeof value !== "string" || !value) throw new WebhookInvalid("HEADERS", `the header ${name} is missing`);
  return value;
}

async function isSigned(signed: Uint8Array, signatures: string, secret: string): Promise<boolean> {
  const subtle = await findSubtle();
  if (!subtle) throw new TypeError("This platform cannot verify signatures.");
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", bytesOf(secret.replace(/^whsec_/, "")), algorithm, false, ["verify"]);
  // Several signatures, by several secrets, during a rotation.
  for (const one of signatures.split(" ")) {
    const [version, signature = ""] = one.split(",");
    // Compares in constant time.
    if (version !== "v1" || !isBase64(signature)) continue;
    if (await subtle.verify("HMAC", key, bytesOf(signature), signed as BufferSource)) return true;
  }
  return false;
}

const isBase64 = (text: string) => text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text);

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

function concatenate(one: Uint8Array, two: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + two.length);
  both.set(one);
  both.set(two, one.length);
  return both;
}
