import createClient from "openapi-fetch";

import { type JobEvent, nameOf } from "./events.js";
import type { paths } from "./openapi_typescript/schema.js";

const api = createClient<paths>({ baseUrl: process.argv[2] });
const events: string[] = [];

const created = await api.POST("/v1/reels", { body: { clips: [{ prompt: "a red balloon", duration_s: 1 }] } });
if (!created.data) throw new Error(created.error.detail);
const path = { job_id: created.data.id };

const streamed = await api.GET("/v1/jobs/{job_id}/events", { params: { path }, parseAs: "stream" });
const reader = streamed.data!.pipeThrough(new TextDecoderStream()).getReader();
let text = "";
for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
for (const line of text.split("\n").filter((line) => line.startsWith("data: "))) {
  const event = JSON.parse(line.slice(6)) as JobEvent;
  if (nameOf(event)) events.push(event.type);
}

const content = await api.GET("/v1/jobs/{job_id}/content", { params: { path }, parseAs: "arrayBuffer" });
const other = await api.POST("/v1/reels", { body: { clips: Array(9).fill({ prompt: "the sea", duration_s: 9 }) } });
const canceled = await api.POST("/v1/jobs/{job_id}/cancel", { params: { path: { job_id: other.data!.id } } });
const refused = await api.POST("/v1/reels", { body: { clips: [] } });

console.log(JSON.stringify({
  events,
  bytes: content.data!.byteLength,
  is_canceled: canceled.data!.cancel_requested || canceled.data!.state === "canceled",
  refused: refused.error!.errors[0]!.pointer,
}));
