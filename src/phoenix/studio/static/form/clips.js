// The clips of a new reel: a card for each, written one after the other like lines of a text.

import { ClipFields } from "../clips/fields.js";
import { indexOf, makeGrip, moveElement, nameGrip } from "../clips/sortable.js";
import { byId, h, hide, setText } from "../dom.js";
import { ClipGuides } from "../guides/clip.js";

export class NewClips {
  constructor(changed) {
    this.changed = changed;
    this.list = byId("clips");
    byId("add-clip").addEventListener("click", () => this.add({ prompt: "" }, this.list.children.length).fields.prompt.focus());
    this.set([{ prompt: "" }]);
  }

  views() {
    return [...this.list.children].map(({ view }) => view);
  }

  set(clips) {
    this.list.replaceChildren();
    for (const clip of clips) this.add(clip, this.list.children.length);
  }

  setModel(model) {
    this.model = model;
    for (const { fields, guides } of this.views()) for (const part of [fields, guides]) part.setModel(model);
  }

  read() {
    return this.views().map(({ fields, guides }) => {
      const conditions = guides.read();
      return { ...fields.read(), ...(conditions.length && { conditions }) };
    });
  }

  // Until every file of a card is uploaded.
  settled() {
    return Promise.all(this.views().map(({ guides }) => guides.settled()));
  }

  // Guides the first clip that does not have this role yet.
  guide(artifact, role) {
    const views = this.views();
    const view = views.find(({ guides }) => !guides.taken().includes(role)) ?? views[0];
    view.guides.addArtifact(artifact, role);
    view.fields.prompt.focus();
  }

  add(values, index) {
    const fields = new ClipFields({
      shown: [],
      changed: this.changed,
      lipsChanged: (moves) => view.guides.setLips(moves),
    });
    fields.set(values);
    fields.setModel(this.model);
    const view = { fields, number: h("h3", {}), element: h("li", { class: "clip-card" }) };
    view.remove = h("button", { type: "button", class: "quiet small", onclick: () => this.remove(view) }, "✕");
    view.grip = makeGrip(view.element, this.list, (item, to) => this.move(item, to));
    view.guides = new ClipGuides({ card: view.element, changed: this.changed });
    view.guides.movesLips = fields.movesLips;
    view.guides.setModel(this.model);
    view.guides.set(values.conditions);
    view.element.view = view;
    view.element.append(h("div", { class: "clip-head" }, view.grip, view.number, view.remove), fields.element, view.guides.element);
    fields.prompt.addEventListener("keydown", (event) => this.onKey(event, view));
    fields.prompt.addEventListener("paste", (event) => this.onPaste(event, view));
    this.list.insertBefore(view.element, this.list.children[index] ?? null);
    this.name();
    return view;
  }

  remove(view) {
    if (this.list.children.length === 1) return;
    const next = view.element.nextElementSibling ?? view.element.previousElementSibling;
    hide(view.element, true, () => next.view.fields.prompt);
    view.element.remove();
    this.name();
    this.changed();
  }

  move(item, to) {
    moveElement(this.list, item, to);
    this.name();
    this.changed();
    setText(byId("news"), `Clip ${to + 1} of ${this.list.children.length}`);
  }

  name() {
    this.views().forEach((view, index) => {
      setText(view.number, `Clip ${index + 1}`);
      nameGrip(view.grip, `clip ${index + 1}`);
      view.fields.prompt.setAttribute("aria-label", `Prompt of clip ${index + 1}`);
      view.remove.setAttribute("aria-label", `Remove clip ${index + 1}`);
      view.remove.hidden = this.list.children.length === 1;
      view.guides.setIndex(index);
    });
  }

  // Enter begins the next clip with what is behind the cursor, and Backspace in an empty clip removes it.
  onKey(event, view) {
    const { prompt } = view.fields;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      const rest = prompt.value.slice(prompt.selectionEnd);
      prompt.value = prompt.value.slice(0, prompt.selectionStart);
      const next = this.add({ prompt: rest.trim() }, indexOf(view.element, this.list) + 1);
      next.fields.prompt.focus();
      next.fields.prompt.setSelectionRange(0, 0);
      this.changed();
    } else if (event.key === "Backspace" && !prompt.value && this.list.children.length > 1) {
      event.preventDefault();
      const index = indexOf(view.element, this.list);
      this.remove(view);
      this.list.children[Math.max(index - 1, 0)].view.fields.prompt.focus();
    }
  }

  // Several lines are several clips.
  onPaste(event, view) {
    const lines = (event.clipboardData?.getData("text") ?? "").split("\n").map((line) => line.trim()).filter(Boolean);
    if (lines.length < 2) return;
    event.preventDefault();
    const { prompt } = view.fields;
    prompt.setRangeText(lines[0], prompt.selectionStart, prompt.selectionEnd, "end");
    const index = indexOf(view.element, this.list) + 1;
    lines.slice(1).forEach((line, number) => this.add({ prompt: line }, index + number));
    this.changed();
  }
}
