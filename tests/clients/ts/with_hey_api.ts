import { cancelJob, createReel, getJobContent, streamJobEvents, type JobEvent } from "./hey_api/index.js";
import { client } from "./hey_api/client.gen.js";
import { nameOf } from "./events.js";

client.setConfig({ baseUrl: process.argv[2] });
const events: string[] = [];

const created = await createReel({ body: { clips: [{ prompt: "a red balloon", duration_s: 1 }] } });
if (!created.data) throw new Error(created.error.detail);
const path = { job_id: created.data.id };

const { stream } = await streamJobEvents({ path, sseMaxRetryAttempts: 3 });
for await (const event of stream) {
  const typed: JobEvent = event;
  if (nameOf(typed)) events.push(typed.type);
}

const content = await getJobContent({ path, parseAs: "arrayBuffer" });
const other = await createReel({ body: { clips: Array(9).fill({ prompt: "the sea", duration_s: 9 }) } });
const canceled = await cancelJob({ path: { job_id: other.data!.id } });
const refused = await createReel({ body: { clips: [] } });

console.log(JSON.stringify({
  events,
  bytes: (content.data as unknown as ArrayBuffer).byteLength,
  is_canceled: canceled.data!.cancel_requested || canceled.data!.state === "canceled",
  refused: refused.error!.errors[0]!.pointer,
}));
