// A version in the making: what of a reel was changed, and the edit that makes it so. Pure.

const FIELDS = ["prompt", "negative_prompt", "duration_s", "seed", "steps", "guidance_scale", "takes", "lip_sync", "conditions"];
// They are laid over the picture, so that a clip keeps its file whatever they are.
const TEXTS = ["caption", "narration"];

// The draft that changes nothing. `from` is the index of a clip in the original; a new clip has none.
export function draftOf(job) {
  const { request } = job;
  return {
    title: job.title ?? "",
    model: request.model,
    quality: request.quality,
    crossfade_s: crossfadeOf(request),
    soundtrack: "keep",
    captions: request.captions ?? "track",
    voice: request.voice?.name ?? "",
    fit_narration: request.fit_narration ?? false,
    clips: request.clips.map((clip, index) => ({ from: index, reroll: false, take: clip.take, ...fieldsOf(clip) })),
  };
}

export const crossfadeOf = ({ transition }) => (transition?.kind === "crossfade" ? transition.duration_s : 0);

export function fieldsOf(clip) {
  const duration_s = Number((clip.num_frames / clip.fps).toFixed(3));
  const { prompt, negative_prompt, seed, steps, guidance_scale, takes, caption, narration } = clip;
  const texts = { negative_prompt: negative_prompt || undefined, caption: caption || undefined, narration: narration || undefined };
  const conditions = clip.conditions?.length ? { conditions: clip.conditions.map(conditionOf) } : {};
  const lips = clip.lip_sync ? { lip_sync: lipsOf(clip.lip_sync) } : {};
  return { prompt, ...texts, duration_s, seed, steps, guidance_scale, takes, ...lips, ...conditions };
}

// What the lips follow is known by what the clip has.
const lipsOf = ({ model, box }) => ({ model, ...(box && { box: { x: box.x, y: box.y, width: box.width, height: box.height } }) });

// As a request has it: a stored clip keeps the fields of its source that are not used.
function conditionOf({ role, source, at_s, strength }) {
  const { artifact_id, job_id, clip_index, previous_clip } = source;
  const named = previous_clip ? { previous_clip } : job_id ? { job_id, clip_index } : { artifact_id };
  return { role, source: named, ...(at_s != null && { at_s }), ...(strength != null && { strength }) };
}

// The body of POST /v1/jobs/{job_id}/edits.
export function editOf(job, draft) {
  const before = draftOf(job);
  const edit = { clips: clipEdits(before.clips, draft.clips) };
  if (draft.title && draft.title !== before.title) edit.title = draft.title;
  for (const name of ["model", "quality", "captions", "fit_narration"]) if (draft[name] !== before[name]) edit[name] = draft[name];
  if (draft.voice && draft.voice !== before.voice) edit.voice = draft.voice;
  if (draft.crossfade_s !== before.crossfade_s) {
    edit.transition = draft.crossfade_s ? { kind: "crossfade", duration_s: draft.crossfade_s } : { kind: "cut" };
  }
  if (draft.soundtrack === "none") edit.drop_soundtrack = true;
  else if (draft.soundtrack !== "keep") edit.soundtrack = { artifact_id: draft.soundtrack };
  return edit;
}

// The operations in order. Each index counts the clips as the operations before have left them.
export function clipEdits(originals, drafts) {
  const kept = drafts.filter(({ from }) => from != null);
  const current = originals.map((_, index) => index).filter((index) => kept.some(({ from }) => from === index));
  return [
    ...originals.map((_, index) => index).filter((index) => !current.includes(index)).reverse().map((index) => ({ op: "remove", index })),
    ...current.flatMap((from, index) => contentEdits(originals[from], kept.find((draft) => draft.from === from), index)),
    ...moves(current, kept.map(({ from }) => from)),
    ...drafts.flatMap((draft, index) => (draft.from == null ? [{ op: "insert", index, clip: clipOf(draft, [...FIELDS, ...TEXTS]) }] : [])),
  ];
}

function contentEdits(original, draft, index) {
  const changed = changedFields(original, draft);
  const edits = [];
  if (changed.length) edits.push({ op: "replace", index, clip: clipOf(draft, ["prompt", ...changed]) });
  if (draft.reroll) edits.push({ op: "reroll", index });
  else if (draft.take !== original.take && !renderingFields(original, draft).length) edits.push({ op: "take", index, take: draft.take });
  return edits;
}

const differing = (names) => (original, draft) => names.filter((name) => draft[name] !== undefined && JSON.stringify(draft[name]) !== JSON.stringify(original[name]));
export const changedFields = differing([...FIELDS, ...TEXTS]);
// Those for which the clip is rendered again.
export const renderingFields = differing(FIELDS);

// What a clip may leave out is left out if nothing is there.
function clipOf(draft, names) {
  return Object.fromEntries(names.filter((name) => draft[name] !== undefined).map((name) => [name, draft[name]]));
}

// As few moves as there can be: the longest run that is in order already stays where it is.
function moves(current, wanted) {
  const staying = new Set(longestRising(wanted.map((from) => current.indexOf(from))).map((place) => current[place]));
  const order = [...current];
  const edits = [];
  wanted.forEach((from, place) => {
    if (staying.has(from)) return;
    const index = order.indexOf(from);
    order.splice(index, 1);
    const to = place ? order.indexOf(wanted[place - 1]) + 1 : 0;
    order.splice(to, 0, from);
    edits.push({ op: "move", index, to });
  });
  return edits;
}

export function longestRising(numbers) {
  const best = [];
  numbers.forEach((number, place) => {
    const before = best.filter((run) => run.at(-1) < number).sort((a, b) => b.length - a.length)[0] ?? [];
    best[place] = [...before, number];
  });
  return best.sort((a, b) => b.length - a.length)[0] ?? [];
}

// How many clips of the draft are rendered, and how many keep their files.
export function costOf(job, draft) {
  const before = draftOf(job);
  const rendersAll = draft.model !== before.model || draft.quality !== before.quality;
  const isRendered = (clip) =>
    rendersAll || clip.from == null || clip.reroll || renderingFields(before.clips[clip.from], clip).length > 0;
  const rendered = draft.clips.filter(isRendered).length;
  return { rendered, reused: draft.clips.length - rendered };
}

export function isChanged(job, draft) {
  const { clips, ...others } = editOf(job, draft);
  return clips.length > 0 || Object.keys(others).length > 0;
}
