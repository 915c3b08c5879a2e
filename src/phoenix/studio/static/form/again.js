// The settings of a job, as the form has them. Pure. What its model decided is left to the model again.

import { crossfadeOf, fieldsOf } from "../editor/draft.js";

export function settingsOf(job, models) {
  const { request } = job;
  const model = models.find(({ id }) => id === request.model);
  const tier = model?.tiers.find(({ quality }) => quality === request.quality);
  const [first] = request.clips;
  const ofTier = new Set((tier?.loras ?? []).map(({ id }) => id));
  return {
    fields: {
      title: job.title ?? "",
      model: model?.id,
      quality: request.quality,
      aspect: request.aspect_ratio,
      resolution: request.resolution,
      crossfade: crossfadeOf(request) || "",
      fps: request.fps === model?.fps.default && !first.interpolate ? "" : request.fps,
      upscale: first.upscale?.id ?? "",
      scale: first.upscale?.scale ?? "",
      interpolate: first.interpolate ?? "",
      "clip-sound": request.clip_sound,
      captions: request.captions,
      voice: request.voice?.name ?? "",
      "fit-narration": request.fit_narration,
      "audio-kept": request.soundtrack?.artifact_id ?? "",
    },
    loras: first.loras.filter(({ id }) => !ofTier.has(id)),
    clips: request.clips.map((clip) => clipSettings(clip, tier, model)),
  };
}

function clipSettings(clip, tier, model) {
  const fields = fieldsOf(clip);
  if (fields.steps === (tier?.steps ?? model?.steps.default)) delete fields.steps;
  if (fields.guidance_scale === (tier?.guidance_scale ?? model?.guidance_scale.default)) delete fields.guidance_scale;
  if (fields.takes === 1) delete fields.takes;
  return fields;
}
