// Queues with what comes next, models and workers: each is steered where it is shown.

import { bytes, h, hide, seconds, setText } from "../dom.js";
import { counted, when } from "../job.js";
import { actButton, PauseControl, pauseOf } from "./acts.js";
import { drain, getQueues, listModels, listWorkers, resumeWorker, unload } from "./requests.js";
import { Rows } from "./rows.js";
import { NextJobs } from "./next.js";

// A worker reports every few seconds. One that is late is probably stuck.
const LATE_S = 20;

export class Fleet {
  constructor(desk) {
    this.desk = desk;
    const list = (label, make, key) => {
      const element = h("ol", { class: "entries", "aria-label": label });
      return new Rows(element, { key, make, fallback: () => desk.fallback() });
    };
    this.queues = list("Queues", (queue) => new QueueRow(desk, queue), ({ name }) => name);
    this.models = list("Models", (model) => new ModelRow(desk, model), ({ id }) => id);
    this.workers = list("Workers", (worker) => new WorkerRow(desk, worker), ({ id }) => id);
    this.noWorker = h("p", { class: "note", hidden: true }, "No worker is running. `phoenix worker` starts one.");
    this.element = h(
      "div",
      { class: "console-part" },
      section("Queues", this.queues.element),
      section("Workers", this.noWorker, this.workers.element),
      section("Models", this.models.element),
    );
  }

  async refresh() {
    const [view, models, workers] = await Promise.all([getQueues(), listModels(), listWorkers()]);
    this.queues.show(view.queues);
    this.workers.show(workers.data);
    this.noWorker.hidden = workers.data.length > 0;
    const holders = (id) => workers.data.filter((worker) => worker.models.includes(id));
    this.models.show(models.data.map((model) => ({ ...model, holders: holders(model.id) })));
    const queues = [...this.queues.rows.values()];
    await Promise.all(queues.map((row) => row.next.refresh()));
  }
}

const section = (title, ...content) => h("section", { class: "panel" }, h("h3", {}, title), ...content);

class QueueRow {
  constructor(desk, { name }) {
    this.desk = desk;
    this.name = name;
    this.depth = h("p", {});
    this.meter = h("meter", { min: 0, "aria-label": `${name} slots in use` });
    this.pause = new PauseControl(desk, "queue", name);
    this.next = new NextJobs(desk, name);
    this.element = h(
      "li",
      { class: "entry" },
      h("div", { class: "entry-head" }, h("h4", {}, name), ...this.pause.buttons),
      this.pause.state,
      this.pause.form,
      this.meter,
      this.depth,
      this.next.element,
    );
  }

  update({ slots, running, waiting, finishing, oldest_wait_s: oldest }) {
    Object.assign(this.meter, { max: Math.max(slots, 1), value: running });
    const parts = [`${running} of ${counted(slots, "slot")} busy`, finishing && `${finishing} finishing`, `${waiting} waiting`];
    if (oldest != null) parts.push(`the oldest for ${seconds(oldest)}`);
    setText(this.depth, parts.filter(Boolean).join(", "));
    this.pause.update(pauseOf(this.desk.pauses, "queue", this.name));
    this.next.update(waiting);
  }
}

class ModelRow {
  constructor(desk, { id, title }) {
    this.desk = desk;
    this.id = id;
    this.facts = h("p", { class: "note" });
    this.pause = new PauseControl(desk, "model", id);
    this.unload = actButton("Unload", `the model ${id}`, () => desk.run(`${id} is dropped once no clip needs it`, () => unload(id)));
    this.element = h(
      "li",
      { class: "entry" },
      h("div", { class: "entry-head" }, h("h4", { title }, id), ...this.pause.buttons, this.unload),
      this.pause.state,
      this.pause.form,
      this.facts,
    );
  }

  update({ holders, engine, memory_bytes: size, is_served: isServed, unserved_reason: reason }) {
    const places = holders.map(({ id }) => id.slice(-6)).join(", ");
    const parts = [isServed ? "served" : reason, holders.length ? `in memory of ${places}` : null, size ? `weights of ${bytes(size)}` : null];
    setText(this.facts, parts.filter(Boolean).join(" · "));
    hide(this.unload, !this.desk.steers || engine !== "diffusers" || !holders.length, () => this.pause.begin);
    this.pause.update(pauseOf(this.desk.pauses, "model", this.id));
  }
}

class WorkerRow {
  constructor(desk, { id, device }) {
    this.desk = desk;
    this.state = h("span", { class: "state" });
    this.facts = h("p", { class: "note" });
    this.fault = h("p", { class: "trouble" });
    this.memory = h("meter", { min: 0, hidden: true, "aria-label": `Memory in use on ${device}` });
    this.models = h("p", { class: "note" });
    this.jobs = h("ul", { class: "links", "aria-label": `Jobs on ${device}` });
    const name = `the worker ${id.slice(-6)}`;
    this.drain = actButton("Drain", name, () => desk.run(`${name} finishes what it runs`, () => drain(id)), "Drain it?");
    this.resume = actButton("Resume", name, () => desk.run(`${name} claims again`, () => resumeWorker(id)));
    this.element = h(
      "li",
      { class: "entry" },
      h("div", { class: "entry-head" }, h("h4", {}, `${device} · ${id.slice(-6)}`), this.state, this.drain, this.resume),
      this.fault,
      this.facts,
      this.memory,
      this.models,
      this.jobs,
    );
  }

  update(worker) {
    const { memory_used_bytes: used, memory_total_bytes: total } = worker;
    const late = (Date.now() - Date.parse(worker.seen_at)) / 1000;
    setText(this.state, late > LATE_S ? `${worker.state}, not heard of for ${seconds(late)}` : worker.state);
    this.element.dataset.state = worker.state;
    setText(this.fault, worker.fault ?? "");
    const parts = [`queues ${worker.queues.join(", ")}`, counted(worker.slots, "slot"), worker.host && `${worker.host}, process ${worker.pid}`];
    if (total) parts.push(`${bytes(used)} of ${bytes(total)}`);
    setText(this.facts, [...parts, `since ${when(new Date(worker.started_at))}`].filter(Boolean).join(" · "));
    this.memory.hidden = !total;
    if (total) Object.assign(this.memory, { max: total, high: total * 0.9, value: used });
    const dropped = worker.unloading.length ? `; drops ${worker.unloading.join(", ")}` : "";
    setText(this.models, worker.models.length || dropped ? `in memory: ${worker.models.join(", ") || "nothing"}${dropped}` : "");
    this.showJobs(worker);
    const isDrained = ["draining", "drained"].includes(worker.state);
    const { steers } = this.desk;
    this.resume.hidden = !steers || !isDrained;
    const hasEnded = worker.state === "unfit" && !worker.slots;
    hide(this.drain, !steers || isDrained || hasEnded, () => this.resume);
  }

  showJobs({ running, finishing }) {
    const tasks = [...running.map((id) => [id, "runs"]), ...finishing.map((id) => [id, "finishes"])];
    const wanted = tasks.flat().join();
    if (this.jobs.dataset.shown === wanted) return;
    this.jobs.dataset.shown = wanted;
    this.jobs.replaceChildren(...tasks.map(([id, what]) => h("li", {}, `${what} `, h("a", { href: `#console=${id}` }, id.slice(-6)))));
  }
}
