// One clip of the editor: its video, its takes, its fields, and what is done with it in the next version.

import { ClipFields, TEXTS } from "../clips/fields.js";
import { makeGrip, nameGrip } from "../clips/sortable.js";
import { h, setText } from "../dom.js";
import { ClipGuides } from "../guides/clip.js";
import { changedFields, renderingFields } from "./draft.js";
import { clipVideo } from "./video.js";

export class EditedClip {
  // `values` is a clip of a draft, and `original` the same clip before any change; a new clip has none.
  constructor({ values, original, list, actions }) {
    this.original = original;
    this.from = values.from ?? null;
    this.take = values.take;
    this.isRerolled = false;
    this.fields = new ClipFields({ changed: actions.changed, lipsChanged: (moves) => this.guides.setLips(moves) });
    this.fields.set(values);
    this.number = h("h3", {});
    this.badge = h("span", { class: "badge" });
    this.media = h("div", { class: "clip-media" });
    this.takes = h("div", { class: "takes", role: "group", "aria-label": "Takes" });
    this.reroll = h("button", { type: "button", class: "quiet", "aria-pressed": "false", onclick: () => this.toggleReroll(actions) }, "Re-roll");
    this.reroll.hidden = !original;
    this.insert = h("button", { type: "button", class: "quiet", onclick: () => actions.insertAfter(this) }, "Insert after");
    this.remove = h("button", { type: "button", class: "quiet", onclick: () => actions.remove(this) }, "Remove");
    this.element = h("li", { class: "clip-card" });
    this.guides = new ClipGuides({ card: this.element, changed: actions.changed });
    this.guides.movesLips = this.fields.movesLips;
    this.guides.set(values.conditions);
    this.grip = makeGrip(this.element, list, actions.move);
    this.element.append(
      h("div", { class: "clip-head" }, this.grip, this.number, this.badge),
      this.media,
      this.takes,
      this.fields.element,
      this.guides.element,
      h("div", { class: "actions" }, this.reroll, this.insert, this.remove),
    );
    this.element.view = this;
  }

  toggleReroll(actions) {
    this.isRerolled = !this.isRerolled;
    this.reroll.setAttribute("aria-pressed", String(this.isRerolled));
    actions.changed();
  }

  values() {
    const values = this.fields.read();
    // What was emptied is gone, and what was never there is left out.
    for (const name of ["negative_prompt", ...TEXTS]) if (this.original?.[name] && !values[name]) values[name] = "";
    if (this.original?.lip_sync && !values.lip_sync) values.lip_sync = false;
    const conditions = this.guides.read();
    if (conditions.length || this.original?.conditions) values.conditions = conditions;
    return { from: this.from, reroll: this.isRerolled, take: this.take, ...values };
  }

  setModel(model) {
    this.fields.setModel(model);
    if (model !== this.model) this.guides.setModel(model);
    this.model = model;
  }

  // Its number in the next version, and what happens to it.
  show(index) {
    const name = `clip ${index + 1}`;
    setText(this.number, `Clip ${index + 1}`);
    nameGrip(this.grip, name);
    for (const button of [this.reroll, this.insert, this.remove]) button.setAttribute("aria-label", `${button.textContent} ${name}`);
    this.element.setAttribute("aria-label", `Clip ${index + 1}`);
    if (this.guides.index !== index) this.guides.setIndex(index);
    const change = this.change(index);
    this.element.dataset.change = change.kind;
    setText(this.badge, change.text);
  }

  change(index) {
    const moved = this.from != null && this.from !== index ? `was clip ${this.from + 1}` : "";
    const values = this.values();
    if (!this.original) return { kind: "new", text: "new" };
    if (this.isRerolled) return { kind: "rendered", text: ["another seed", moved].filter(Boolean).join(", ") };
    if (renderingFields(this.original, values).length) return { kind: "rendered", text: ["changed", moved].filter(Boolean).join(", ") };
    if (this.take !== this.original.take) return { kind: "kept", text: `take ${this.take + 1}` };
    if (changedFields(this.original, values).length) return { kind: "kept", text: ["other words", moved].filter(Boolean).join(", ") };
    return { kind: "kept", text: moved || (this.isReused ? "reused" : "kept") };
  }

  // What the server has of the clip: its state, and its file once there is one.
  update(clip, urls, preview, actions) {
    this.isReused = clip.reused;
    this.showMedia(clip, urls, preview);
    if (clip.takes.length && !this.takes.children.length) {
      this.takes.append(...clip.takes.map((take) => this.takeView(take, urls, actions)));
    }
  }

  showMedia(clip, urls, preview) {
    if (clip.state === "succeeded" && urls) {
      if (!this.video) this.media.replaceChildren((this.video = clipVideo(urls.clip(clip.index), `Clip ${clip.index + 1}: ${clip.prompt}`)));
      return;
    }
    if (!this.state) {
      this.picture = h("img", { alt: "", hidden: true });
      this.state = h("p", { class: "note" });
      this.media.replaceChildren(this.picture, this.state);
    }
    this.picture.hidden = !preview;
    if (preview && this.picture.src !== preview) this.picture.src = preview;
    setText(this.state, clip.state === "running" ? `running, step ${clip.step} of ${clip.steps}` : clip.state);
  }

  takeView(take, urls, actions) {
    const choice = h("input", { type: "radio", name: `take-of-${this.from}`, value: take.take });
    choice.checked = take.take === this.take;
    choice.disabled = take.state !== "succeeded";
    choice.addEventListener("change", () => {
      this.take = take.take;
      actions.changed();
    });
    const name = `Take ${take.take + 1}, seed ${take.seed}`;
    const picture = take.state === "succeeded" ? clipVideo(urls.clip(take.index), name) : h("p", { class: "note" }, take.state);
    return h("div", { class: "take" }, picture, h("label", { class: "check" }, choice, ` Use take ${take.take + 1}`));
  }
}
