// One job in the list of all owners' jobs.

import { h, hide, setText } from "../dom.js";
import { factsOf, titleOf } from "../job.js";
import { isOver } from "../progress.js";
import { actButton } from "./acts.js";
import { approveJob, cancelJob, changeJob, deleteJob, retryJob } from "./requests.js";

export const nameOf = (job) => (job.words_hidden ? `${job.kind} ${job.id.slice(-6)}` : titleOf(job));

export class JobRow {
  constructor(desk, job, choose) {
    this.box = h("input", { type: "checkbox", "aria-label": `Choose ${nameOf(job)}`, onchange: (event) => choose(job.id, event.target.checked) });
    this.box.hidden = !desk.steers;
    this.state = h("span", { class: "state" });
    this.facts = h("p", { class: "facts" });
    this.trouble = h("p", { class: "trouble", hidden: true });
    this.steering = new JobSteering(desk, job);
    const link = h("a", { href: `#console=${job.id}` }, nameOf(job));
    const head = h("div", { class: "entry-head" }, this.box, h("h3", {}, link), this.state);
    this.element = h("li", { class: "entry" }, head, this.facts, this.trouble, this.steering.element);
  }

  update(job) {
    this.element.dataset.state = job.state;
    setText(this.state, job.cancel_requested && !isOver(job) ? "canceling" : job.state);
    setText(this.facts, `${job.owner_id} · ${factsOf(job)}`);
    this.trouble.hidden = !job.error;
    setText(this.trouble, job.error ? `${job.error.code}: ${job.error.message}` : "");
    this.steering.update(job);
  }
}

// What an administrator does with a job.
export class JobSteering {
  constructor(desk, job) {
    const { id } = job;
    const name = nameOf(job);
    const act = (label, done, send, question) => actButton(label, name, () => desk.run(`${name} ${done}`, () => send(id)), question);
    this.desk = desk;
    this.front = act("To the front", "comes first", () => changeJob(id, { position: "front" }));
    this.approve = act("Approve", "is approved", approveJob);
    this.retry = act("Retry", "is queued again", retryJob);
    this.cancel = act("Cancel", "is canceled", cancelJob, "Cancel it?");
    this.remove = act("Delete", "is deleted", deleteJob, "Delete for good?");
    const levels = ["low", "normal", "high"].map((level) => h("option", {}, level));
    this.priority = h("select", { "aria-label": `Priority of ${name}` }, ...levels);
    this.priority.addEventListener("change", () => {
      const priority = this.priority.value;
      return desk.run(`${name} has the priority ${priority}`, () => changeJob(id, { priority }));
    });
    this.element = h("div", { class: "actions" }, this.approve, this.front, this.priority, this.retry, this.cancel, this.remove);
  }

  update(job) {
    const over = isOver(job);
    const { steers } = this.desk;
    this.element.hidden = !steers;
    const next = () => [...this.element.children].find(({ hidden }) => !hidden);
    const shown = [
      [this.approve, job.waiting_reason?.code === "AWAITING_APPROVAL"],
      [this.front, ["queued", "running"].includes(job.state)],
      [this.priority, job.state === "queued"],
      [this.retry, over && job.state !== "succeeded"],
      [this.cancel, !over && !job.cancel_requested],
      [this.remove, over],
    ];
    for (const [button, isShown] of shown) if (isShown) button.hidden = false;
    for (const [button, isShown] of shown) if (!isShown) hide(button, true, next);
    if (document.activeElement !== this.priority) this.priority.value = job.priority;
  }
}
