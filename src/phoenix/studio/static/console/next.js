// The jobs of a queue in the order in which they will start, with the reason why each one waits.

import { h, seconds, setText } from "../dom.js";
import { actButton } from "./acts.js";
import { changeJob, listNext } from "./requests.js";
import { Rows } from "./rows.js";

const FIRST = 20;

export class NextJobs {
  constructor(desk, queue) {
    this.desk = desk;
    this.queue = queue;
    this.summary = h("summary", {}, "What comes next");
    this.list = h("ol", { class: "next", "aria-label": `What comes next in ${queue}` });
    this.note = h("p", { class: "note" });
    this.rows = new Rows(this.list, { key: ({ job_id: id }) => id, make: (job) => new NextRow(desk, job), fallback: () => this.summary });
    this.element = h("details", { ontoggle: () => this.refresh().catch((problem) => desk.fail(problem)) }, this.summary, this.note, this.list);
  }

  update(waiting) {
    this.waiting = waiting;
    setText(this.summary, waiting ? `What comes next (${waiting} waiting)` : "What comes next");
  }

  async refresh() {
    if (!this.element.open) return;
    const { data, has_more: hasMore } = await listNext(this.queue, FIRST);
    this.rows.show(data);
    const others = "Jobs of a paused model or owner are not among them.";
    setText(this.note, data.length ? `The first ${data.length}${hasMore ? "; more wait behind them" : ""}. ${others}` : `Nothing waits for its turn. ${others}`);
  }
}

class NextRow {
  constructor(desk, { job_id: id }) {
    this.facts = h("span", { class: "note" });
    this.front = actButton("To the front", `the job ${id.slice(-6)}`, () =>
      desk.run(`${id.slice(-6)} comes first`, () => changeJob(id, { position: "front" })),
    );
    this.front.hidden = !desk.steers;
    this.element = h("li", {}, h("a", { href: `#console=${id}` }, id.slice(-6)), " ", this.facts, " ", this.front);
  }

  update({ owner_id: owner, model, priority, waiting_reason: reason, eta_s: eta, moved_to_front: isFront }) {
    const parts = [owner, model, priority === "normal" ? null : `priority ${priority}`, isFront ? "moved to the front" : null];
    if (eta != null) parts.push(`${seconds(eta)} left`);
    setText(this.facts, [...parts, reason?.detail].filter(Boolean).join(" · "));
  }
}
