// One thing that guides a clip: a file, the clip before, or a clip of another reel, with its role.

import { artifactUrl, getArtifact } from "../api.js";
import { h, setText } from "../dom.js";
import { nameOf, rulesFor } from "./roles.js";

export class Guide {
  // `condition` as in a request; without a source, its file is being uploaded.
  constructor(condition, { name, changed, removed }) {
    this.source = condition.source;
    this.wanted = condition;
    this.picture = h("span", { class: "thumb", "aria-hidden": "true" }, this.source?.previous_clip ? "↩" : null);
    this.name = h("span", { class: "guide-name" }, name ?? sourceName(this.source));
    this.role = h("select", { onchange: () => this.showFields() });
    this.time = h("input", { type: "number", min: 0, step: "any", value: condition.at_s ?? 0 });
    this.strength = h("input", { type: "number", step: "any", value: condition.strength ?? "" });
    this.remove = h("button", { type: "button", class: "quiet small", onclick: () => removed(this) }, "✕");
    this.timeLabel = h("label", { hidden: true }, "At second", this.time);
    this.strengthLabel = h("label", { hidden: true }, "Strength", this.strength);
    this.trouble = h("p", { class: "note", hidden: true });
    this.element = h(
      "li",
      { class: "guide" },
      this.picture,
      h("div", { class: "guide-text" }, this.name, this.role, this.timeLabel, this.strengthLabel, this.trouble),
      this.remove,
    );
    this.changed = changed;
    if (this.source?.artifact_id) this.describe();
  }

  setUploaded(artifact, role) {
    this.source = { artifact_id: artifact.id };
    this.wanted = { ...this.wanted, role };
    this.role.replaceChildren();
    this.show(artifact);
  }

  // What a reload or a job knows of it is its id alone.
  async describe() {
    try {
      this.show(await getArtifact(this.source.artifact_id));
      this.changed();
    } catch (problem) {
      if (problem.status === 404) setText(this.name, "a file that was deleted");
    }
  }

  show(artifact) {
    this.media = artifact.info.media;
    setText(this.name, artifact.filename ?? artifact.id);
    if (this.media === "image") artifactUrl(artifact.id).then((url) => this.picture.replaceChildren(h("img", { src: url, alt: "" })), () => {});
    if (this.rules) this.setRules(this.rules);
  }

  setRules(rules) {
    this.rules = rules;
    const media = this.source?.artifact_id ? (this.media ?? mediaOfRole(this.wanted.role, rules)) : null;
    const offered = rulesFor(media, rules);
    const kept = this.role.value || this.wanted.role;
    this.role.replaceChildren(...offered.map(({ role }) => h("option", { value: role }, nameOf(role))));
    this.role.value = offered.some(({ role }) => role === kept) ? kept : (offered[0]?.role ?? "");
    this.showFields();
  }

  setPlace({ label, isFirst }) {
    this.isFirst = isFirst;
    this.role.setAttribute("aria-label", `What ${this.name.textContent} is in ${label}`);
    this.remove.setAttribute("aria-label", `Remove ${this.name.textContent} from ${label}`);
    this.showFields();
  }

  showFields() {
    const rule = this.rules?.find(({ role }) => role === this.role.value);
    this.timeLabel.hidden = !rule?.has_time;
    this.strengthLabel.hidden = !rule?.strength;
    if (rule?.strength) Object.assign(this.strength, { min: rule.strength.minimum, max: rule.strength.maximum, placeholder: rule.strength.default });
    const trouble = this.findTrouble();
    setText(this.trouble, trouble);
    this.trouble.hidden = !trouble;
    this.role.hidden = Boolean(trouble) || !this.source || !this.rules;
  }

  findTrouble() {
    if (!this.source) return "is being uploaded";
    if (this.source.previous_clip && this.isFirst) return "There is no clip before the first one.";
    if (this.rules && !this.role.value) return "The model takes no such file.";
    return "";
  }

  // As in a request; null if it cannot be used.
  read() {
    if (!this.rules && this.source) return this.wanted;
    if (this.findTrouble() || !this.role.value) return null;
    const condition = { role: this.role.value, source: this.source };
    if (!this.timeLabel.hidden) condition.at_s = Number(this.time.value);
    if (!this.strengthLabel.hidden && this.strength.value !== "") condition.strength = Number(this.strength.value);
    return condition;
  }
}

const mediaOfRole = (role, rules) => rules.find((rule) => rule.role === role)?.media;

function sourceName(source) {
  if (!source) return "";
  if (source.previous_clip) return "The clip before";
  if (source.job_id) return `Clip ${source.clip_index + 1} of ${source.job_id}`;
  return source.artifact_id;
}
