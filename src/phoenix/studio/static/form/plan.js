// What a reel will be, before it is submitted. Pure: it follows from the request and from what the model says of itself.

import { seconds } from "../dom.js";
import { counted } from "../job.js";

// The renders count each take; the seconds are those of the result.
export function planOf(reel, model) {
  const clips = reel.clips.filter(({ prompt }) => prompt);
  const tier = model.tiers.find(({ quality }) => quality === (reel.quality ?? "standard"));
  const lengths = clips.map((clip) => clip.duration_s ?? reel.duration_s ?? model.duration_s.default);
  const fades = (reel.transition?.duration_s ?? 0) * Math.max(clips.length - 1, 0);
  const takes = clips.map((clip) => clip.takes ?? 1);
  const steps = clips.map((clip) => clip.steps ?? reel.steps ?? tier?.steps ?? model.steps.default);
  const size = model.sizes.find(
    ({ resolution, aspect_ratio: ratio }) => resolution === reel.resolution && ratio === reel.aspect_ratio,
  );
  return {
    clips: clips.length,
    duration_s: sum(lengths) - fades,
    renders: sum(takes),
    rendered_s: sum(lengths.map((length, index) => length * takes[index])),
    steps: sum(steps.map((each, index) => each * takes[index])),
    width: size?.width,
    height: size?.height,
    fps: reel.fps ?? model.fps.default,
  };
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

export function describePlan(plan) {
  if (!plan.clips) return "";
  const more = plan.renders > plan.clips ? `, ${counted(plan.renders, "render")}` : "";
  const parts = [
    `${counted(plan.clips, "clip")}${more}`,
    `a reel of ${seconds(plan.duration_s)}`,
    plan.width && `${plan.width}×${plan.height} at ${plan.fps} fps`,
    `${counted(plan.steps, "step")} for ${seconds(plan.rendered_s)} of video`,
  ];
  return parts.filter(Boolean).join(" · ");
}
