import OpenAI, { BadRequestError, NotFoundError, toFile } from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none" });
// Small and short, which the types of the SDK do not know.
const size = "426x240" as "1280x720";
const seconds = "1" as "4";

async function untilEnded(video: OpenAI.Video): Promise<OpenAI.Video> {
  while (video.status === "queued" || video.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 100));
    video = await client.videos.retrieve(video.id);
  }
  return video;
}
const thrown = (error: unknown) => error;

const first = await client.videos.create({ model: "animatic" as "sora-2", prompt: "a red balloon", size, seconds });
const video = await untilEnded(first);
const content = await (await client.videos.downloadContent(video.id)).arrayBuffer();
const thumbnail = await client.videos.downloadContent(video.id, { variant: "thumbnail" });
const remixed = await client.videos.remix(video.id, { prompt: "the sea" });
const extended = await client.videos.extend({ prompt: "it lands", seconds, video: { id: video.id } });
const file = await toFile(content, "video.mp4");
const ofFile = await client.videos.extend({ prompt: "it lands", seconds, video: file });
// No model of this server changes videos.
const ofId = await client.videos.edit({ prompt: "at night", video: { id: video.id } }).catch(thrown);
const edited = await client.videos.edit({ prompt: "at night", video: file }).catch(thrown);
const asJson = await client.post<OpenAI.Video>("/videos", { body: { prompt: "the sea", size, seconds: 1 } });
const listed: string[] = [];
for await (const one of client.videos.list({ limit: 1 })) listed.push(one.id);
const ended = await Promise.all([remixed, extended, ofFile, asJson].map(untilEnded));
const deleted = await client.videos.delete(video.id);
const missing = await client.videos.retrieve(video.id).catch(thrown);
const refused = await client.videos.create({ prompt: "a", size: "123x45" as "1280x720" }).catch(thrown);

console.log(JSON.stringify({
  first: first.status,
  status: video.status,
  progress: video.progress,
  size: video.size,
  bytes: content.byteLength,
  thumbnail: thumbnail.headers.get("content-type"),
  remixed_from: remixed.remixed_from_video_id === video.id,
  ended: ended.map((one) => [one.status, one.seconds]),
  edits: [ofId, edited].map((error) => error instanceof BadRequestError && error.param),
  is_listed: listed.includes(video.id),
  deleted: deleted.deleted,
  missing: missing instanceof NotFoundError && missing.code,
  refused: refused instanceof BadRequestError && refused.param,
}));
