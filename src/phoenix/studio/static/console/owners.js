// Owners: what each has used, its share of the fleet, and its pause.

import { h, hide, seconds, setText } from "../dom.js";
import { counted } from "../job.js";
import { actButton, PauseControl, pauseOf } from "./acts.js";
import { getUsage, listShares, removeShare, setShare } from "./requests.js";
import { Rows } from "./rows.js";

const NOTHING = { jobs: 0, clips: 0, attempts: 0, device_s: 0 };

// Everybody who used something in a month, has a share or is paused; whoever used most comes first.
export function ownersOf(usage, shares, pauses) {
  const used = new Map(usage.totals.map((total) => [total.owner_id, total]));
  const share = new Map(shares.map((each) => [each.key_id, each]));
  const paused = pauses.filter(({ kind }) => kind === "key").map(({ name }) => name);
  const ids = [...new Set([...used.keys(), ...share.keys(), ...paused])];
  return ids.map((id) => ({ id, used: used.get(id) ?? NOTHING, share: share.get(id) ?? null }));
}

export class Owners {
  constructor(desk) {
    this.desk = desk;
    const list = h("ol", { class: "entries", "aria-label": "Owners" });
    this.rows = new Rows(list, { key: ({ id }) => id, make: (owner) => new OwnerRow(desk, owner), fallback: () => desk.fallback() });
    this.empty = h("p", { class: "note" });
    this.element = h("section", { class: "panel console-part", "aria-label": "Owners" }, this.empty, list);
  }

  async refresh() {
    const [usage, shares] = await Promise.all([getUsage(), listShares()]);
    const owners = ownersOf(usage, shares.data, this.desk.pauses);
    setText(this.empty, owners.length ? "Use of the last 30 days." : "No job has ended in the last 30 days.");
    this.rows.show(owners);
  }
}

class OwnerRow {
  constructor(desk, { id }) {
    this.desk = desk;
    this.id = id;
    this.used = h("p", {});
    this.said = h("p", { class: "note" });
    this.pause = new PauseControl(desk, "key", id);
    this.form = this.shareForm();
    this.edit = h("details", { hidden: !desk.steers }, h("summary", {}, "Weight and limits"), this.form);
    const jobs = h("a", { href: `#console=jobs?${encodeURIComponent(`owner:${id}`)}`, "aria-label": `Jobs of the owner ${id}` }, "Jobs");
    const entries = h("a", { href: `#console=audit?${encodeURIComponent(id)}`, "aria-label": `Audit log of the owner ${id}` }, "Audit log");
    this.element = h(
      "li",
      { class: "entry" },
      h("div", { class: "entry-head" }, h("h4", {}, id), jobs, entries, ...this.pause.buttons),
      this.pause.state,
      this.pause.form,
      this.used,
      this.said,
      this.edit,
    );
  }

  shareForm() {
    const number = (label, attributes) => {
      const input = h("input", { type: "number", ...attributes });
      return [h("label", {}, label, input), input];
    };
    const [weightLabel, weight] = number("Weight", { min: 0.01, max: 100, step: "any", required: true });
    const [mostLabel, most] = number("Clips at a time (0: no limit)", { min: 0, step: 1, placeholder: "as the server" });
    const [modelLabel, ofModel] = number("Of one model", { min: 1, step: 1, placeholder: "no limit" });
    Object.assign(this, { weight, most, ofModel });
    const save = h("button", { type: "submit", class: "primary", "aria-label": `Save the share of ${this.id}` }, "Save");
    this.remove = actButton("Remove", `the share of ${this.id}`, () => this.desk.run(`${this.id} has what every owner has`, () => removeShare(this.id)));
    const form = h("form", { class: "share" }, weightLabel, mostLabel, modelLabel, h("div", { class: "actions" }, save, this.remove));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    return form;
  }

  save() {
    const share = { weight: Number(this.weight.value) };
    if (this.most.value) share.max_running_clips = Number(this.most.value);
    if (this.ofModel.value) share.max_running_clips_per_model = Number(this.ofModel.value);
    return this.desk.run(`the share of ${this.id} is saved`, () => setShare(this.id, share));
  }

  update({ used, share }) {
    setText(this.used, `${counted(used.jobs, "job")}, ${counted(used.clips, "clip")}, ${seconds(used.device_s)} of devices, ${counted(used.attempts, "attempt")}`);
    setText(this.said, describeShare(share));
    hide(this.remove, !share, () => this.weight);
    this.pause.update(pauseOf(this.desk.pauses, "key", this.id));
    // What somebody types stays.
    if (this.edit.open && this.known) return;
    this.known = true;
    this.weight.value = share?.weight ?? 1;
    this.most.value = share?.max_running_clips ?? "";
    this.ofModel.value = share?.max_running_clips_per_model ?? "";
  }
}

function describeShare(share) {
  if (!share) return "Weight 1, with the limits of every owner.";
  const { weight, max_running_clips: most, max_running_clips_per_model: ofModel } = share;
  const limits = [most == null ? null : most ? `at most ${counted(most, "clip")} at a time` : "no limit of clips", ofModel && `at most ${ofModel} of one model`];
  return [`Weight ${weight}`, ...limits].filter(Boolean).join(", ").concat(".");
}
