// Which part a file may play in a clip. Pure: it follows from what the model says that it takes.

const NAMES = {
  first_frame: "first picture",
  last_frame: "last picture",
  keyframe: "picture within the clip",
  reference: "picture of what appears",
  source_video: "video to change or continue",
  control_pose: "video of the pose",
  control_face: "video of the face",
  control_depth: "video of depths",
  control_edge: "video of edges",
  mask: "mask",
  audio: "sound that it moves to",
};
const ACCEPTED = { image: "image/*,.heic,.avif", video: "video/*", audio: "audio/*" };

export const nameOf = (role) => NAMES[role] ?? role;

const SAID = { role: "audio", media: "audio", minimum: 0, maximum: 1, excludes: [], requires: [] };

// What a clip takes. Lips that move take a sound, whatever the model takes.
export function rulesOf(model, movesLips) {
  const rules = model?.conditions ?? [];
  return !movesLips || rules.some(({ role }) => role === SAID.role) ? rules : [...rules, SAID];
}

export const mediaOf = (rules) => [...new Set(rules.map(({ media }) => media))];

export const acceptedBy = (rules) => mediaOf(rules).map((media) => ACCEPTED[media]).join();

// A clip stands for its last picture, its frames or its sound; a file is of one kind.
export const rulesFor = (media, rules) => (media ? rules.filter((rule) => rule.media === media) : rules);

// The first role that the clip has room for. `taken`: the roles of what guides it already.
export function openRole(media, rules, taken) {
  const count = (role) => taken.filter((each) => each === role).length;
  const hasRoom = ({ role, maximum, excludes }) => count(role) < maximum && !excludes.some((other) => taken.includes(other));
  return rulesFor(media, rules).find(hasRoom)?.role;
}

// What a stored file can be in a new reel.
export function usesOf({ kind, info }, model) {
  if (kind === "segments" || kind === "captions") return [];
  const roles = rulesFor(info.media, model?.conditions ?? []).map(({ role }) => ({ role, name: nameOf(role) }));
  return info.media === "audio" ? [{ role: null, name: "soundtrack" }, ...roles] : roles;
}
