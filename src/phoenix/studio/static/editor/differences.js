// Which clip of a version is which clip of the version before it. Pure.

import { fieldsOf } from "./draft.js";

const same = (a, b) => JSON.stringify(fieldsOf(a)) === JSON.stringify(fieldsOf(b));

// For each clip of the newer reel: the index of its clip in the older one (null for none), and what was done with it.
export function differences(older, newer) {
  const free = new Set(older.request.clips.keys());
  const take = (isIt) => {
    const found = [...free].find(isIt);
    free.delete(found);
    return found ?? null;
  };
  const clips = newer.request.clips;
  const before = older.request.clips;
  const found = clips.map((clip) => take((index) => same(before[index], clip)));
  clips.forEach((clip, index) => {
    found[index] ??= take((other) => before[other].prompt === clip.prompt || before[other].seed === clip.seed);
  });
  return {
    clips: clips.map((clip, index) => ({ index, from: found[index], change: changeOf(before[found[index]], clip, found[index], index) })),
    removed: [...free],
  };
}

function changeOf(before, clip, from, index) {
  if (!before) return "new";
  const changes = [];
  if (before.prompt !== clip.prompt) changes.push("other prompt");
  if (before.seed !== clip.seed) changes.push("other seed");
  const others = ({ prompt, seed, ...rest }) => JSON.stringify(rest);
  if (others(fieldsOf(before)) !== others(fieldsOf(clip))) changes.push("other settings");
  if (from !== index) changes.push(`was clip ${from + 1}`);
  return changes.join(", ") || "same";
}
