// Sends a job with so many events to everybody who asks, as fast as they are read. Prints its URL.
import { createServer } from "node:http";

const count = Number(process.argv[2]);
const progress = (seq) =>
  `id: ${seq}\nevent: clip.started\ndata: ${JSON.stringify({
    job_id: "job_01kag3e9zq4f7w5m8x2c6b0n1d", seq, at: "2026-01-31T12:00:02.000000Z", type: "clip.started", clip_index: 0,
    attempt: seq, worker_id: "wrk_01kag3e9zq4f7w5m8x2c6b0n1d", steps: 20, seed: 4_294_967_295, progress: seq / count,
    prompt: "a red balloon rises over a harbour at dawn, seen from the sea",
  })}\n\n`;
const frames = Array.from({ length: count - 1 }, (_, at) => progress(at + 1));
frames.push(`id: ${count}\nevent: job.succeeded\ndata: {"type":"job.succeeded","seq":${count}}\n\n`);

const server = createServer((_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  // A replica writes the events of one moment together.
  for (let at = 0; at < count; at += 5) response.write(frames.slice(at, at + 5).join(""));
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
