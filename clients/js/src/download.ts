import { PhoenixError, PhoenixUnreachable } from "./errors.js";
import { findSubtle } from "./platform.js";
import { Deadline, type Outgoing, type Transport } from "./transport.js";
import type { Job } from "./types.js";

/** The longest time between two pieces of a file. */
const SILENCE_MS = 60_000;

/** The result of a job. Continues after a broken connection; throws if the bytes differ from the file on the server. */
export async function downloadContent(transport: Transport, job: Job, signal?: AbortSignal): Promise<Blob> {
  const { output } = job;
  if (!output) throw new PhoenixError(`${job.id} is ${job.state} and has no output`, { code: "NO_OUTPUT", kind: "refused" });
  const received = new Received();
  for (let failures = 0; received.bytes < output.size_bytes; ) {
    const headers: Record<string, string> = received.bytes ? { range: `bytes=${received.bytes}-` } : {};
    const request: Outgoing = { method: "GET", path: output.url, headers, signal, isRepeatable: true };
    const before = received.bytes;
    try {
      await receive(transport, request, received);
      if (received.bytes < output.size_bytes) throw new PhoenixUnreachable("the file ended too soon");
    } catch (error) {
      failures = received.bytes > before ? 1 : failures + 1;
      await transport.pause(error, failures, transport.policy, request);
    }
  }
  const blob = new Blob(received.pieces as BlobPart[], { type: job.kind === "soundtrack" ? "audio/mp4" : "video/mp4" });
  if (blob.size === output.size_bytes && (await hasDigest(blob, output.sha256))) return blob;
  throw new PhoenixError(`the ${blob.size} bytes received differ from the file on the server`, {
    code: "CORRUPTED",
    kind: "in-doubt",
  });
}

class Received {
  bytes = 0;
  pieces: Uint8Array[] = [];
}

async function receive(transport: Transport, request: Outgoing, received: Received): Promise<void> {
  const deadline = new Deadline(SILENCE_MS, request.signal);
  try {
    const response = await transport.open(request, deadline);
    // The server has sent the whole file again.
    if (response.status !== 206) Object.assign(received, new Received());
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await transport.reading(deadline, () => reader.read());
      if (done) return;
      deadline.extend();
      received.pieces.push(value);
      received.bytes += value.length;
    }
  } finally {
    deadline.close();
  }
}

async function hasDigest(blob: Blob, sha256: string): Promise<boolean> {
  const subtle = await findSubtle();
  // A page without HTTPS cannot compute it. The size was compared.
  if (!subtle) return true;
  const digest = new Uint8Array(await subtle.digest("SHA-256", await blob.arrayBuffer()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
