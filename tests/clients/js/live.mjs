// A reel from prompt to an edited file with the client. Argument: the URL of the server.
import { JobFailed, Phoenix } from "@phoenix-video/client";

const phoenix = new Phoenix({ baseUrl: process.argv[2] });
const thrown = (promise) => promise.then(() => undefined, (error) => error);
const shares = [];
const events = [];
const seqs = [];

const reel = { clips: [{ prompt: "a red balloon", duration_s: 1, seed: 1 }, { prompt: "the sea", duration_s: 1, seed: 2 }] };
const job = await phoenix.run(reel, {
  onProgress: ({ progress }) => shares.push(progress),
  onEvent: (event) => events.push(event.type),
});
for await (const event of phoenix.watch(job.id, { lastEventId: 0 })) {
  if (!["snapshot", "clip.progress", "clip.preview", "job.queue"].includes(event.type)) seqs.push(event.seq);
}
let resumed;
for await (const event of phoenix.watch(job.id, { lastEventId: seqs.length - 1 })) resumed = event.type;
const played = await fetch(job.output.signed_url);
const { clips } = await phoenix.signedUrls(job.id);
const video = await phoenix.download(job);

const samples = new Int16Array(16_000).map((_, at) => 8000 * Math.sin(at / 8));
const tune = await phoenix.upload(new Blob([wavHeader(samples), samples]), { filename: "tune.wav" });
const edited = await phoenix.edit(job.id, { clips: [{ op: "reroll", index: 1 }], soundtrack: { artifact_id: tune.id } });
const done = await phoenix.waitFor(edited);
const artifact = await phoenix.call("get", "/v1/artifacts/{artifact_id}", { path: { artifact_id: done.output.artifact_id } });

const first = await phoenix.submit(reel, { idempotencyKey: "once" });
const again = await phoenix.submit(reel, { idempotencyKey: "once" });
const taken = await thrown(phoenix.submit("other", { idempotencyKey: "once" }));
const refused = await thrown(phoenix.submit({ clips: [{ prompt: "" }] }));
const missing = await thrown(phoenix.getJob("job_00000000000000000000000000"));
const long = await phoenix.submit({ clips: Array(9).fill({ prompt: "the sea", duration_s: 9 }) });
await phoenix.cancel(long.id);
const canceled = await thrown(phoenix.waitFor(long.id));
const page = await phoenix.call("get", "/v1/jobs", { query: { limit: 100 } });

console.log(JSON.stringify({
  shares,
  events,
  ended_with: events.at(-1),
  seqs_rise_by_one: seqs.every((seq, at) => seq === at + 1),
  resumed,
  plays: [played.status, played.headers.get("content-type")],
  clip: (await fetch(clips[1])).status,
  bytes: video.size,
  reused: done.clips.map((clip) => clip.reused),
  has_sound: artifact.info.audio_codec !== null,
  same_job: first.id === again.id,
  key_taken: [taken.code, taken.kind, taken.retriable],
  refused: [refused.code, refused.pointer, refused.retriable],
  missing: [missing.code, missing.requestId.startsWith("req_")],
  canceled: [canceled.code, canceled instanceof JobFailed],
  listed: page.data.some((each) => each.id === job.id),
}));

function wavHeader(samples) {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((char, index) => header.setUint8(at + index, char.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + samples.byteLength, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, 16_000, true);
  header.setUint32(28, 32_000, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, samples.byteLength, true);
  return header.buffer;
}
