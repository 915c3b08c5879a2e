import OpenAI, { BadRequestError, NotFoundError } from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" });
// Small and short, which the types of the SDK do not know.
const size = "426x240" as "1280x720";
const seconds = "1" as "4";

let video = await client.videos.create({ model: "animatic" as "sora-2", prompt: "a red balloon", size, seconds });
const first = video;
while (video.status === "queued" || video.status === "in_progress") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  video = await client.videos.retrieve(video.id);
}
const content = await client.videos.downloadContent(video.id);
const thumbnail = await client.videos.downloadContent(video.id, { variant: "thumbnail" });
const remixed = await client.videos.remix(video.id, { prompt: "the sea" });
const listed: string[] = [];
for await (const one of client.videos.list({ limit: 1 })) listed.push(one.id);
const deleted = await client.videos.delete(video.id);
const missing = await client.videos.retrieve(video.id).catch((error: unknown) => error);
const refused = await client.videos.create({ prompt: "a", size: "123x45" as "1280x720" }).catch((error: unknown) => error);

console.log(JSON.stringify({
  first: first.status,
  status: video.status,
  progress: video.progress,
  size: video.size,
  bytes: (await content.arrayBuffer()).byteLength,
  thumbnail: thumbnail.headers.get("content-type"),
  remixed_from: remixed.remixed_from_video_id === video.id,
  is_listed: listed.includes(video.id),
  deleted: deleted.deleted,
  missing: missing instanceof NotFoundError && missing.code,
  refused: refused instanceof BadRequestError && refused.param,
}));
