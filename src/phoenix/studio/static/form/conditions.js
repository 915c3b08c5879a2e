// The fields for what guides each clip: one for each role that the model takes, with its limits.

import { upload } from "../api.js";
import { byId, h } from "../dom.js";
import { fill as fillUploads, uploadChoice } from "./uploads.js";

const NAMES = {
  first_frame: "First picture of each clip",
  last_frame: "Last picture of each clip",
  keyframe: "Picture within each clip",
  reference: "Pictures of what appears in each clip",
  source_video: "Video that is changed or continued",
  control_pose: "Video that guides the pose",
  control_face: "Video that guides the face",
  control_depth: "Video of depths",
  control_edge: "Video of edges",
  mask: "Video that is white where something new is made",
  audio: "Sound that each clip moves to",
};
const ACCEPTED = { image: "image/*,.heic,.avif", video: "video/*", audio: "audio/*,video/*" };

export class ConditionFields {
  constructor() {
    // Rows are kept for the next model with the same role: the browser keeps the chosen files in them.
    this.rows = new Map();
    this.shown = [];
  }

  show(model) {
    this.shown = model.conditions.map((rule) => this.row(rule));
    byId("conditions").replaceChildren(...this.shown.map(({ element }) => element));
    byId("chain-row").hidden = !model.conditions.some(({ role }) => role === "first_frame");
  }

  row(rule) {
    const row = this.rows.get(rule.role) ?? makeRow(rule.role, rule.media);
    this.rows.set(rule.role, row);
    row.file.accept = ACCEPTED[rule.media];
    // One time goes with one file.
    row.file.multiple = rule.maximum > 1 && !rule.has_time;
    row.file.required = rule.minimum > 0 && !row.kept.value;
    row.note.replaceChildren(limits(rule));
    row.time.hidden = !rule.has_time;
    row.strength.hidden = !rule.strength;
    if (rule.strength) setRange(row.strength.querySelector("input"), rule.strength);
    return row;
  }

  offerUploads() {
    for (const { kept, media } of this.rows.values()) fillUploads(kept, media);
  }

  // The uploads that are used again.
  addKept(clips) {
    const conditions = this.shown.filter(({ kept, file }) => kept.value && !file.files.length).map(keptCondition);
    this.setAll(clips, conditions);
  }

  setAll(clips, conditions) {
    const isChained = !byId("chain-row").hidden && byId("chain").checked;
    clips.forEach((clip, index) => {
      const ofAll = isChained && index ? chained(conditions) : conditions;
      // What guides this clip alone takes the place of what guides each clip.
      const own = clip.conditions ?? [];
      const others = ofAll.filter(({ role }) => !own.some((each) => each.role === role));
      if (own.length || others.length) clip.conditions = [...own, ...others];
    });
  }

  get hasFiles() {
    return this.shown.some(({ file }) => file.files.length);
  }

  // Uploads the files and adds them to each clip. `uploaded` gets the id of each upload at once.
  async addTo(clips, uploaded) {
    const conditions = [];
    for (const row of this.shown) {
      const { role, file, time, strength, kept } = row;
      if (kept.value && !file.files.length) conditions.push(keptCondition(row));
      for (const chosen of file.files) {
        const { id } = await upload(chosen);
        uploaded.push(id);
        conditions.push({ role, source: { artifact_id: id }, at_s: numberIn(time), strength: numberIn(strength) });
      }
    }
    this.setAll(clips, conditions);
  }

  clear() {
    for (const { file, kept } of this.rows.values()) file.value = kept.value = "";
  }
}

function chained(conditions) {
  const previous = { role: "first_frame", source: { previous_clip: true } };
  return [previous, ...conditions.filter(({ role }) => role !== "first_frame")];
}

function keptCondition({ role, kept, time, strength }) {
  return { role, source: { artifact_id: kept.value }, at_s: numberIn(time), strength: numberIn(strength) };
}

function makeRow(role, media) {
  const id = `condition-${role}`;
  const file = h("input", { type: "file", id, "aria-describedby": `${id}-note` });
  const note = h("p", { class: "note", id: `${id}-note` });
  const time = numberField(`${id}-time`, "At second", 0, 0);
  const strength = numberField(`${id}-strength`, "Strength", 0);
  const kept = uploadChoice(`${id}-kept`, media, NAMES[role] ?? role);
  kept.addEventListener("change", () => (file.required &&= !kept.value));
  const element = h("div", {}, h("label", { for: id }, NAMES[role] ?? role), file, kept, note, h("div", { class: "pair" }, time, strength));
  return { role, media, element, file, kept, note, time, strength };
}

function numberField(id, name, min, value) {
  const input = h("input", { type: "number", id, step: "any", min, value });
  return h("div", {}, h("label", { for: id }, name), input);
}

function numberIn(field) {
  const { value } = field.querySelector("input");
  return field.hidden || value === "" ? undefined : Number(value);
}

export function setRange(input, range) {
  input.min = range.minimum;
  input.max = range.maximum;
  if (input.value === "" || input.value < range.minimum || input.value > range.maximum) input.value = range.default;
}

function limits(rule) {
  const named = (roles) => roles.map((role) => (NAMES[role] ?? role).toLowerCase()).join(", ");
  const [shortest, longest] = [rule.shortest_clip_s, rule.longest_clip_s];
  return [
    rule.minimum ? `needed${rule.minimum > 1 ? `: ${rule.minimum} files` : ""}` : "",
    rule.maximum > 1 && !rule.has_time ? `up to ${rule.maximum} files` : "",
    rule.requires.length ? `only with: ${named(rule.requires)}` : "",
    rule.excludes.length ? `not with: ${named(rule.excludes)}` : "",
    shortest && shortest === longest ? `clips of ${shortest} s` : "",
    shortest && shortest !== longest ? `clips of at least ${shortest} s` : "",
    longest && shortest !== longest ? `clips of at most ${longest} s` : "",
  ]
    .filter(Boolean)
    .join("; ");
}
