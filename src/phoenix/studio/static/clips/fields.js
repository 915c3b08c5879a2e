// The fields of one clip. Which there are, and their limits, follow from what the model can do.

import { h } from "../dom.js";

const NUMBERS = [
  { name: "duration_s", label: "Seconds", range: (model) => model?.duration_s },
  { name: "seed", label: "Seed", range: () => ({ minimum: 0, maximum: 2 ** 32 - 1 }), step: 1 },
  { name: "steps", label: "Steps", range: (model) => model?.steps, step: 1 },
  { name: "guidance_scale", label: "Guidance", range: (model) => model?.guidance_scale },
  { name: "takes", label: "Takes", range: () => ({ minimum: 1, maximum: 8 }), step: 1 },
];
export const TEXTS = ["caption", "narration"];
const FACE = /^\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)\s*$/;
const USUALLY_SHOWN = ["duration_s", "seed"];

export class ClipFields {
  // `names` are the numbers that the clip has, and `shown` those that are not folded away. `changed` follows each input,
  // and `lipsChanged` the choice whether the lips of the clip move.
  constructor({ names = NUMBERS.map(({ name }) => name), shown: open = USUALLY_SHOWN, changed, lipsChanged = () => {} }) {
    this.prompt = h("textarea", { rows: 2, spellcheck: true, maxlength: 4000, required: true });
    this.negative = h("textarea", { rows: 1, maxlength: 4000 });
    this.caption = h("textarea", { rows: 1, maxlength: 500, "data-name": "caption" });
    this.narration = h("textarea", { rows: 2, maxlength: 2000, "data-name": "narration" });
    this.lips = h("input", { type: "checkbox", "data-name": "lip_sync", onchange: () => this.showLips(lipsChanged) });
    this.face = h("input", { "data-name": "face", placeholder: "x, y, width, height", oninput: () => this.checkFace() });
    this.faceLabel = h("label", { hidden: true }, "Face in the clip, in pixels", this.face);
    this.numbers = new Map();
    this.isFolded = !open.length;
    for (const { name, step } of NUMBERS.filter(({ name }) => names.includes(name))) {
      this.numbers.set(name, h("input", { type: "number", step: step ?? "any", "data-name": name }));
    }
    const shown = [...this.numbers.keys()].filter((name) => open.includes(name));
    const others = [...this.numbers.keys()].filter((name) => !open.includes(name));
    this.promptLabel = h("label", {}, h("span", {}, "Prompt"), this.prompt);
    this.more = h(
      "details",
      {},
      h("summary", {}, "More"),
      h("label", {}, "Caption, shown over the clip", this.caption),
      h("label", {}, "Narration, spoken in the clip", this.narration),
      h("label", { class: "check" }, this.lips, " The lips say the narration, or the sound of the clip"),
      this.faceLabel,
      h("label", {}, "Not in the picture", this.negative),
      h("div", { class: "numbers" }, ...others.map((name) => this.labelled(name))),
    );
    this.element = h(
      "div",
      { class: "fields" },
      this.promptLabel,
      shown.length ? h("div", { class: "numbers" }, ...shown.map((name) => this.labelled(name))) : null,
      this.more,
    );
    this.element.addEventListener("input", changed);
  }

  labelled(name) {
    const { label } = NUMBERS.find((number) => number.name === name);
    return h("label", {}, label, this.numbers.get(name));
  }

  // A range of one value leaves nothing to choose.
  setModel(model) {
    for (const { name, range } of NUMBERS) {
      const input = this.numbers.get(name);
      const limits = range(model);
      if (!input || !limits) continue;
      input.min = limits.minimum;
      input.max = limits.maximum;
      input.placeholder = limits.default ?? (name === "takes" ? 1 : "any");
      input.closest("label").hidden = limits.minimum === limits.maximum;
    }
  }

  get movesLips() {
    return this.lips.checked;
  }

  showLips(lipsChanged = () => {}) {
    this.faceLabel.hidden = !this.lips.checked;
    lipsChanged(this.lips.checked);
  }

  checkFace() {
    const isRight = !this.face.value.trim() || FACE.test(this.face.value);
    this.face.setCustomValidity(isRight ? "" : "Write four numbers: from the left, from the top, width and height.");
  }

  // As in a request. The lip model of a job stays.
  setLips(lips) {
    this.lips.checked = Boolean(lips);
    this.lipModel = lips?.model;
    const { x, y, width, height } = lips?.box ?? {};
    this.face.value = lips?.box ? [x, y, width, height].join(", ") : "";
    this.showLips();
  }

  readLips() {
    const [, x, y, width, height] = (FACE.exec(this.face.value) ?? []).map(Number);
    const lips = { ...(this.lipModel && { model: this.lipModel }), ...(x !== undefined && { box: { x, y, width, height } }) };
    return Object.keys(lips).length ? lips : true;
  }

  set(values) {
    this.setLips(values.lip_sync);
    this.prompt.value = values.prompt ?? "";
    this.negative.value = values.negative_prompt ?? "";
    for (const name of TEXTS) this[name].value = values[name] ?? "";
    for (const [name, input] of this.numbers) input.value = values[name] ?? "";
    const others = this.isFolded ? [...this.numbers.keys()] : [];
    this.more.open = Boolean(values.negative_prompt || values.lip_sync) || TEXTS.some((name) => values[name]) || others.some((name) => values[name] != null);
  }

  // Only what was filled in: what is left out is decided by the reel or by the model.
  read() {
    const values = { prompt: this.prompt.value.trim() };
    if (this.negative.value.trim()) values.negative_prompt = this.negative.value.trim();
    for (const name of TEXTS) if (this[name].value.trim()) values[name] = this[name].value.trim();
    if (this.movesLips) values.lip_sync = this.readLips();
    for (const [name, input] of this.numbers) {
      if (input.value !== "" && !input.closest("label").hidden) values[name] = Number(input.value);
    }
    return values;
  }
}
