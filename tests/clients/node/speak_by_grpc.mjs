// Registers a face, renders one frame and runs a session, with the packages that generate a client from the .proto file.
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const [address, source, facePath] = process.argv.slice(2);
const options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
const definition = protoLoader.loadSync("phoenix/frames/v1/frames.proto", { ...options, includeDirs: [source] });
const { Frames } = grpc.loadPackageDefinition(definition).phoenix.frames.v1;
const client = new Frames(address, grpc.credentials.createInsecure());

const video = await new Promise((resolve, reject) => {
  const call = client.RegisterVideo((error, answer) => (error ? reject(error) : resolve(answer)));
  const box = { x: 8, y: 8, width: 48, height: 32 };
  call.write({ source: { box } });
  call.write({ chunk: readFileSync(facePath) });
  call.end();
});
const request = { video_id: video.video_id, frame_index: 0, audio: Buffer.alloc(6400), sample_rate: 16000 };
const single = await new Promise((resolve, reject) =>
  client.RenderFrame(request, (error, answer) => (error ? reject(error) : resolve(answer))));

const seen = { kinds: [], sequences: [], audioBytes: 0, imageBytes: single.image.length };
await new Promise((resolve, reject) => {
  const call = client.Session();
  call.on("data", (answer) => {
    if (seen.kinds.at(-1) !== answer.message) seen.kinds.push(answer.message);
    if (answer.message !== "frame") return;
    seen.sequences.push(answer.frame.sequence);
    seen.audioBytes += answer.frame.audio.length;
  });
  call.on("error", reject);
  call.on("end", resolve);
  call.write({ open: { video_id: video.video_id, sample_rate: 16000 } });
  for (let sequence = 0; sequence < 25; sequence++) call.write({ sound: { sequence, pcm: Buffer.alloc(1280, sequence) } });
  call.end();
});
const fault = await new Promise((resolve) =>
  client.GetVideo({ video_id: "vid_unknown" }, (error) => resolve(error.metadata.get("phoenix-fault")[0])));
console.log(JSON.stringify({ ...seen, fps: video.fps, fault }));
