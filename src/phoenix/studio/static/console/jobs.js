// The jobs of all owners: found by qualifiers, steered one by one or many at a time.

import { h, hide, setText } from "../dom.js";
import { counted } from "../job.js";
import { Bulk } from "./bulk.js";
import { JobRow } from "./jobrow.js";
import { HELP, paramsOf, readSearch } from "./qualifiers.js";
import { listJobs } from "./requests.js";
import { Rows } from "./rows.js";

const PAGE = 25;

export class AllJobs {
  constructor(desk, query = "") {
    Object.assign(this, { desk, jobs: new Map(), chosen: new Set(), cursor: null });
    this.words = h("input", { id: "console-words", type: "search", maxlength: 500, value: query, placeholder: "state:failed after:2h", "aria-describedby": "console-help" });
    this.form = h("form", { role: "search", class: "search" }, h("label", { for: "console-words", class: "unseen" }, "Search the jobs of all owners"), this.words, h("button", { type: "submit", class: "quiet" }, "Search"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch((problem) => desk.fail(problem));
    });
    this.note = h("p", { class: "note", role: "status" });
    this.list = h("ol", { class: "entries panel", "aria-label": "Jobs of all owners" });
    const make = (job) => new JobRow(desk, job, (id, isChosen) => this.choose(id, isChosen));
    this.rows = new Rows(this.list, { key: ({ id }) => id, make, fallback: () => this.words });
    this.more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.showMore().catch((problem) => desk.fail(problem)) }, "Show more");
    this.bulk = new Bulk(desk, () => this.subject());
    this.element = h("div", { class: "console-part" }, this.form, h("p", { id: "console-help", class: "note" }, HELP), this.bulk.element, this.note, this.list, this.more);
    this.search = readSearch(query, Date.now());
  }

  // A search that has a fault is not made.
  async begin() {
    this.search = readSearch(this.words.value, Date.now());
    this.clear();
    await this.refresh();
  }

  clear() {
    this.jobs.clear();
    this.chosen.clear();
    this.depth = 0;
    this.rows.show([]);
    this.bulk.forget();
  }

  // The first page stays live. What was loaded below it changes when it is acted on.
  async refresh() {
    const { search } = this;
    if (search.faults.length) return setText(this.note, search.faults.join(". "));
    const page = await listJobs([...paramsOf(search), ["limit", PAGE]]);
    if (search !== this.search) return undefined;
    const lowest = page.has_more ? page.data.at(-1)?.id : "";
    const listed = new Set(page.data.map(({ id }) => id));
    const isGone = (id) => !listed.has(id) && id >= lowest;
    if (!search.filter.q) for (const id of [...this.jobs.keys()]) if (isGone(id)) this.jobs.delete(id);
    this.take(page, !this.depth);
    return this.show();
  }

  async showMore() {
    const { search } = this;
    const page = await listJobs([...paramsOf(search), ["limit", PAGE], ["cursor", this.cursor]]);
    if (search !== this.search) return;
    this.depth = (this.depth ?? 0) + 1;
    this.take(page, true);
    this.show(() => this.rows.rows.get(page.data[0]?.id)?.element.querySelector("a"));
  }

  take(page, isLast) {
    for (const job of page.data) this.jobs.set(job.id, job);
    if (!isLast) return;
    this.cursor = page.next_cursor;
    this.hasMore = page.has_more;
  }

  show(next = () => this.words) {
    const jobs = [...this.jobs.values()];
    // A search by words has an order of its own.
    if (!this.search.filter.q) jobs.sort((a, b) => (a.id < b.id ? 1 : -1));
    this.rows.show(jobs);
    for (const id of this.chosen) if (!this.jobs.has(id)) this.chosen.delete(id);
    setText(this.note, jobs.length ? `${counted(jobs.length, "job")}${this.hasMore ? " and more" : ""}` : "No job was found.");
    hide(this.more, !this.hasMore, next);
    this.bulk.update();
  }

  choose(id, isChosen) {
    if (isChosen) this.chosen.add(id);
    else this.chosen.delete(id);
    this.bulk.update();
  }

  // What a bulk action is about: the chosen jobs, or else all that the search finds.
  subject() {
    if (this.chosen.size) return { ids: [...this.chosen], owner: "all" };
    const { owner, filter, faults } = this.search;
    return faults.length ? null : { filter, owner };
  }
}
