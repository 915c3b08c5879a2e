// Cancel, retry or delete many jobs: what matches is shown first, and each failure is reported.

import { confirmed, h, setText } from "../dom.js";
import { counted } from "../job.js";
import { bulk } from "./requests.js";

const DONE = { cancel: "canceled", retry: "queued again", delete: "deleted" };
const LIMIT = 100;

export class Bulk {
  // `subject` returns what the action is about: { ids, owner } or { filter, owner }; null for a search with a fault.
  constructor(desk, subject) {
    Object.assign(this, { desk, subject });
    this.action = h("select", { id: "bulk-action", onchange: () => this.forget() }, ...Object.keys(DONE).map((name) => h("option", {}, name)));
    this.whom = h("span", { class: "note" });
    const look = h("button", { type: "submit", class: "quiet" }, "Show what matches");
    this.form = h("form", { class: "one-line" }, h("label", { for: "bulk-action" }, "Many jobs"), this.action, look, this.whom);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.preview().catch((problem) => desk.fail(problem));
    });
    this.found = h("p", { role: "status" });
    this.list = h("ul", { class: "scroller matches", tabindex: 0, "aria-label": "Jobs that match", hidden: true });
    this.go = confirmed("Do it", "Sure?", () => this.carryOut().catch((problem) => desk.fail(problem)));
    this.go.setAttribute("aria-label", "Do it with what matches");
    this.stop = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => (this.isStopped = true) }, "Stop");
    this.go.hidden = true;
    this.element = h("section", { class: "panel bulk", "aria-label": "Many jobs", hidden: !desk.steers }, this.form, this.found, this.list, h("div", { class: "actions" }, this.go, this.stop));
  }

  update() {
    const wanted = this.subject();
    setText(this.whom, wanted?.ids ? `the ${counted(wanted.ids.length, "job")} that you chose` : "all that the search finds");
  }

  forget() {
    this.wanted = null;
    this.go.hidden = this.list.hidden = true;
    this.list.replaceChildren();
    setText(this.found, "");
  }

  async preview() {
    this.forget();
    const subject = this.subject();
    if (!subject) return;
    const { owner, ...which } = subject;
    const wanted = { owner, body: { action: this.action.value, ...which } };
    const seen = await bulk({ ...wanted.body, dry_run: true, ...(which.filter && { limit: LIMIT }) }, owner);
    const number = seen.total ?? seen.jobs.length;
    const more = seen.total == null && seen.has_more ? " and more" : "";
    setText(this.found, number ? `${counted(number, "job")}${more} would be ${DONE[seen.action]}.` : "No job matches that can be changed so.");
    this.showLines(seen.jobs.map(({ id, owner_id: by, state }) => `${id} of ${by}, ${state}`), seen.failed);
    this.go.hidden = !seen.jobs.length;
    this.wanted = wanted;
    if (seen.jobs.length) this.go.focus();
  }

  // In portions, each of which the server ends within ten seconds.
  async carryOut() {
    const { wanted } = this;
    if (!wanted || this.isBusy) return;
    this.isBusy = true;
    this.isStopped = false;
    this.stop.hidden = false;
    this.stop.focus();
    const failed = [];
    let changed = 0;
    let cursor = null;
    try {
      do {
        const answer = await bulk({ ...wanted.body, ...(cursor && { cursor }) }, wanted.owner);
        changed += answer.changed;
        failed.push(...answer.failed);
        cursor = answer.next_cursor;
        const end = cursor ? ", more to do" : "";
        setText(this.found, `${counted(changed, "job")} ${DONE[answer.action]}, ${failed.length} refused${end}.`);
      } while (cursor && !this.isStopped);
    } finally {
      this.isBusy = false;
      this.stop.hidden = this.go.hidden = true;
      this.action.focus();
      this.showLines([], failed);
      this.wanted = null;
      await this.desk.refresh();
    }
  }

  showLines(lines, failed) {
    const refused = failed.map(({ id, code, detail }) => `${id}: ${code}, ${detail}`);
    const all = [...lines, ...refused];
    this.list.replaceChildren(...all.map((line) => h("li", {}, line)));
    this.list.hidden = !all.length;
  }
}
