// A box that is drawn on a picture, and its four numbers, which do the same without a pointer.

import { h } from "../dom.js";

const LEAST_PX = 16;
const NAMES = { x: "From the left", y: "From the top", width: "Width", height: "Height" };

// The box between two points of a picture: whole pixels inside the picture. Null for a box that is too small. Pure.
export function boxBetween(a, b, size) {
  const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
  const [left, right] = [a.x, b.x].map((x) => within(x, size.width)).sort((one, other) => one - other);
  const [top, bottom] = [a.y, b.y].map((y) => within(y, size.height)).sort((one, other) => one - other);
  if (right - left < LEAST_PX || bottom - top < LEAST_PX) return null;
  return { x: left, y: top, width: right - left, height: bottom - top };
}

export class FaceBox {
  constructor(changed = () => {}) {
    this.changed = changed;
    this.mark = h("div", { class: "face-box", hidden: true });
    this.stage = h("div", { class: "face-stage" }, this.mark);
    this.inputs = new Map(Object.keys(NAMES).map((name) => [name, h("input", { type: "number", min: 0, step: 1, "data-name": name })]));
    this.numbers = h("div", { class: "numbers" }, ...[...this.inputs].map(([name, input]) => h("label", {}, NAMES[name], input)));
    this.element = h("div", { class: "face", hidden: true }, this.stage, this.numbers);
    this.numbers.addEventListener("input", () => this.show());
    this.stage.addEventListener("pointerdown", (event) => this.begin(event));
    this.stage.addEventListener("pointermove", (event) => this.start && this.draw(event));
    for (const name of ["pointerup", "pointercancel"]) this.stage.addEventListener(name, () => (this.start = null));
    new ResizeObserver(() => this.show()).observe(this.stage);
  }

  // The picture or the video on which the box is drawn; none takes the box away.
  setMedia(element, size) {
    this.media?.remove();
    Object.assign(this, { media: element, size });
    this.element.hidden = !element;
    if (element) this.stage.prepend(element);
    for (const input of this.inputs.values()) input.value = "";
    this.show();
  }

  // The numbers as in a request; null without a whole box.
  read() {
    const entries = [...this.inputs].map(([name, input]) => [name, input.value]);
    return entries.every(([, value]) => value !== "") ? Object.fromEntries(entries.map(([name, value]) => [name, Number(value)])) : null;
  }

  begin(event) {
    if (!this.media || event.button) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.start = this.pointOf(event);
  }

  draw(event) {
    const box = boxBetween(this.start, this.pointOf(event), this.size);
    if (!box) return;
    for (const [name, input] of this.inputs) input.value = box[name];
    this.show();
  }

  pointOf({ clientX, clientY }) {
    const seen = this.media.getBoundingClientRect();
    const scale = this.size.width / seen.width;
    return { x: (clientX - seen.left) * scale, y: (clientY - seen.top) * scale };
  }

  show() {
    const box = this.media && this.read();
    this.mark.hidden = !box;
    if (box) {
      const scale = this.media.getBoundingClientRect().width / this.size.width;
      const { style } = this.mark;
      Object.assign(style, { left: `${box.x * scale}px`, top: `${box.y * scale}px` });
      Object.assign(style, { width: `${box.width * scale}px`, height: `${box.height * scale}px` });
    }
    this.changed();
  }
}
