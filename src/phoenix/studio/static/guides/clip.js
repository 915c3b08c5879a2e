// What guides one clip of a new reel: files are dropped on its card, chosen, or taken from earlier uploads.

import { h, hide, setText } from "../dom.js";
import { uploadOnce } from "../form/uploads.js";
import { Guide } from "./guide.js";
import { pickUpload } from "./picker.js";
import { acceptedBy, mediaOf, nameOf, openRole, rulesOf } from "./roles.js";

export class ClipGuides {
  // `card` is the element that files are dropped on.
  constructor({ card, changed }) {
    Object.assign(this, { changed, guides: [], rules: [], uploads: new Set() });
    this.list = h("ul", { class: "guides" });
    this.file = h("input", { type: "file", multiple: true, hidden: true, "data-name": "guides" });
    this.file.addEventListener("change", () => this.addFiles([...this.file.files]));
    this.add = h("button", { type: "button", class: "quiet small", onclick: () => this.file.click() }, "Add a file");
    this.pick = h("button", { type: "button", class: "quiet small", onclick: () => this.pickOne() }, "Earlier uploads");
    this.previous = h("button", { type: "button", class: "quiet small", onclick: () => this.addPrevious() }, "From the clip before");
    this.note = h("p", { class: "note", role: "status" });
    this.actions = h("div", { class: "actions" }, this.add, this.pick, this.previous, this.file);
    this.element = h("div", { class: "guided" }, this.list, this.actions, this.note);
    acceptDrops(card, () => this.rules.length > 0, (files) => this.addFiles(files));
  }

  setLips(movesLips) {
    this.movesLips = movesLips;
    this.setModel(this.model);
  }

  setModel(model) {
    this.model = model;
    this.rules = rulesOf(model, this.movesLips);
    this.file.accept = acceptedBy(this.rules);
    // Of a model that is not known, nobody knows what it takes.
    if (model) for (const guide of this.guides) guide.setRules(this.rules);
    this.show();
  }

  setIndex(index) {
    this.index = index;
    const label = `clip ${index + 1}`;
    this.list.setAttribute("aria-label", `What guides ${label}`);
    this.add.setAttribute("aria-label", `Add a file to ${label}`);
    this.pick.setAttribute("aria-label", `Earlier uploads for ${label}`);
    this.previous.setAttribute("aria-label", `From the clip before, for ${label}`);
    for (const guide of this.guides) guide.setPlace({ label, isFirst: index === 0 });
    this.show();
  }

  set(conditions = []) {
    this.list.replaceChildren();
    this.guides = [];
    for (const condition of conditions) this.append(condition);
  }

  read() {
    return this.guides.map((guide) => guide.read()).filter(Boolean);
  }

  // Until every file is uploaded.
  settled() {
    return Promise.allSettled([...this.uploads]);
  }

  append(condition, name) {
    const guide = new Guide(condition, { name, changed: () => this.update(), removed: (removed) => this.remove(removed) });
    this.guides.push(guide);
    this.list.append(guide.element);
    if (this.model) guide.setRules(this.rules);
    if (this.index !== undefined) this.setIndex(this.index);
    return guide;
  }

  remove(guide) {
    hide(guide.element, true, () => this.add);
    guide.element.remove();
    this.guides = this.guides.filter((each) => each !== guide);
    this.update();
  }

  update() {
    this.setIndex(this.index);
    this.changed();
  }

  show() {
    const takesPrevious = openRole(null, this.rules, this.taken());
    this.actions.hidden = !this.rules.length;
    hide(this.previous, this.index === 0 || !takesPrevious || this.guides.some(({ source }) => source?.previous_clip), () => this.add);
  }

  taken() {
    return this.guides.map((guide) => guide.read()?.role).filter(Boolean);
  }

  addFiles(files) {
    setText(this.note, "");
    for (const file of files) {
      const guide = this.append({}, file.name);
      const work = uploadOnce(file).then(
        (artifact) => this.take(guide, artifact),
        (problem) => this.refuse(guide, `${file.name}: ${problem.message}`),
      );
      this.uploads.add(work);
      work.finally(() => this.uploads.delete(work));
    }
    this.file.value = "";
  }

  // A stored file, at once. `role` if it is known.
  addArtifact(artifact, role) {
    this.take(this.append({}, artifact.filename ?? artifact.id), artifact, role);
  }

  take(guide, artifact, role = openRole(artifact.info.media, this.rules, this.taken())) {
    if (!role) return this.refuse(guide, `${artifact.filename ?? artifact.id}: ${noRoom(artifact.info.media, this.rules)}`);
    guide.setUploaded(artifact, role);
    setText(this.note, `${guide.name.textContent} is the ${nameOf(role)} of clip ${this.index + 1}.`);
    this.update();
  }

  refuse(guide, text) {
    this.remove(guide);
    setText(this.note, text);
  }

  addPrevious() {
    this.append({ role: openRole(null, this.rules, this.taken()), source: { previous_clip: true } });
    this.update();
    this.add.focus();
  }

  async pickOne() {
    const artifact = await pickUpload(mediaOf(this.rules), `Uploads for clip ${this.index + 1}`);
    if (artifact) this.addArtifact(artifact);
    this.pick.focus();
  }
}

const MEDIA = { image: "picture", video: "video", audio: "sound" };

function noRoom(media, rules) {
  const name = MEDIA[media] ?? "file";
  return mediaOf(rules).includes(media) ? `the clip has no room for another ${name}.` : `the model takes no ${name} here.`;
}

// Files from outside of the page. The grips of the cards use pointer events, which do not meet these.
function acceptDrops(element, isWanted, drop) {
  const hasFiles = (event) => isWanted() && event.dataTransfer?.types.includes("Files");
  const mark = (isOver) => (isOver ? (element.dataset.files = "over") : delete element.dataset.files);
  element.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    mark(true);
  });
  element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || mark(false));
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(false);
    drop([...event.dataTransfer.files]);
  });
}
