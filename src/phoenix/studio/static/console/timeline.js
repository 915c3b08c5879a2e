// One job of any owner: what it waits for, its attempts with their stages, its errors and its log.

import { h, setText } from "../dom.js";
import { factsOf, when } from "../job.js";
import { isOver } from "../progress.js";
import { cellsOf, partOf, piecesOf, spanOf } from "./attempts.js";
import { JobSteering, nameOf } from "./jobrow.js";
import { getJob, getLog, listAttempts } from "./requests.js";

const COLUMNS = ["Part", "Attempt", "State", "Waited", "Took", "Stages", "Memory", "Worker", "Error"];
const STAGES = ["wait", "load", "queue", "text", "denoise", "decode", "postprocess", "encode", "upload"];

export class Timeline {
  constructor(desk, id) {
    Object.assign(this, { desk, id });
    this.title = h("h3", {});
    this.state = h("span", { class: "state" });
    this.reason = h("p", { class: "reason", hidden: true });
    this.facts = h("p", { class: "facts" });
    this.trouble = h("p", { class: "trouble" });
    this.links = h("p", { class: "links" });
    this.actions = h("div", {});
    this.top = h("section", { class: "panel reel-top", "aria-label": "Job" }, h("div", { class: "entry-head" }, this.title, this.state), this.reason, this.facts, this.trouble, this.links, this.actions);
    this.bars = h("ol", { class: "bars", "aria-hidden": "true" });
    this.key = h("ul", { class: "legend stages", "aria-hidden": "true" });
    this.body = h("tbody", {});
    const head = h("thead", {}, h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name))));
    const table = h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Attempts" }, h("table", { class: "changes" }, head, this.body));
    this.none = h("p", { class: "note" });
    const attempts = h("section", { class: "panel" }, h("h3", {}, "Attempts"), this.none, this.key, this.bars, table);
    this.level = h("select", { id: "log-level", onchange: () => this.showLog() }, h("option", { value: "" }, "all lines"), h("option", { value: "troubles" }, "warnings and errors"));
    this.lines = h("ol", { class: "scroller log", tabindex: 0, "aria-label": "Log of the job" });
    const log = h("section", { class: "panel" }, h("div", { class: "entry-head" }, h("h3", {}, "Log"), h("label", { for: "log-level", class: "unseen" }, "Lines"), this.level), this.lines);
    this.element = h("div", { class: "console-part" }, this.top, attempts, log);
  }

  // A job that has ended changes no more once its last lines were read, unless somebody acts on it.
  async refresh() {
    const job = await getJob(this.id).catch((problem) => this.lost(problem));
    if (!job) return undefined;
    if (this.settled === job.last_seq && isOver(job)) return this.showJob(job);
    const [attempts, log] = await Promise.all([listAttempts(this.id), getLog(this.id)]);
    this.settled = isOver(job) ? job.last_seq : null;
    this.showJob(job);
    this.showAttempts(job, attempts.data);
    this.log = log;
    return this.showLog();
  }

  // Null for a job that was there, and was deleted.
  lost(problem) {
    if (problem.status !== 404 || !this.steering) throw problem;
    setText(this.state, "deleted");
    this.steering.element.hidden = this.reason.hidden = true;
    return null;
  }

  showJob(job) {
    setText(this.title, nameOf(job));
    setText(this.state, job.cancel_requested && !isOver(job) ? "canceling" : job.state);
    this.top.dataset.state = job.state;
    const reason = job.waiting_reason;
    this.reason.hidden = !reason;
    this.reason.className = reason?.code === "PAUSED" ? "paused" : "reason";
    setText(this.reason, reason ? `${reason.code}: ${reason.detail}` : "");
    setText(this.facts, `${job.owner_id} · ${factsOf(job)} · priority ${job.priority}`);
    setText(this.trouble, job.error ? `${job.error.code}: ${job.error.message}` : "");
    if (!this.steering) {
      this.steering = new JobSteering(this.desk, job);
      this.actions.replaceWith(this.steering.element);
      const others = [["Its draft", job.draft_job_id], ["The reel of this draft", job.draft_of], ["The version before", job.edited_from]];
      const links = others.filter(([, id]) => id).map(([name, id]) => h("a", { href: `#console=${id}` }, name));
      this.links.replaceChildren(...links, h("a", { href: `#console=jobs?${encodeURIComponent(`owner:${job.owner_id}`)}` }, "Jobs of this owner"));
    }
    this.steering.update(job);
  }

  showAttempts(job, attempts) {
    const now = Date.now();
    const span = spanOf(job, attempts, now);
    setText(this.none, attempts.length ? `From ${when(new Date(span.start))} to ${when(new Date(span.end))}` : "No attempt has begun.");
    this.body.replaceChildren(
      ...attempts.map((attempt) =>
        h("tr", { "data-state": attempt.state }, h("th", { scope: "row" }, partOf(attempt)), ...cellsOf(attempt).map((cell) => h("td", {}, cell))),
      ),
    );
    const used = new Set();
    this.bars.replaceChildren(...attempts.map((attempt) => h("li", {}, h("span", { class: "bar-name" }, partOf(attempt)), barOf(attempt, span, now, used))));
    this.key.replaceChildren(...STAGES.filter((stage) => used.has(stage)).map((stage) => h("li", { "data-stage": stage }, stage)));
  }

  showLog() {
    const { data = [], has_more: hasMore } = this.log ?? {};
    const isWanted = ({ level }) => !this.level.value || level !== "info";
    const lines = data.filter(isWanted);
    const stays = this.lines.scrollHeight - this.lines.scrollTop > this.lines.clientHeight + 40;
    const first = hasMore ? [h("li", { class: "note" }, "Earlier lines are left out.")] : [];
    this.lines.replaceChildren(...first, ...lines.map(lineOf));
    if (!lines.length) this.lines.append(h("li", { class: "note" }, "There are no such lines."));
    if (!stays) this.lines.scrollTop = this.lines.scrollHeight;
  }
}

function barOf(attempt, span, now, used) {
  const bar = h("span", { class: "bar-track", "data-state": attempt.state });
  for (const { kind, name, from, to } of piecesOf(attempt, span, now)) {
    used.add(kind);
    const piece = h("span", { "data-stage": kind, title: name });
    piece.style.left = `${100 * from}%`;
    piece.style.width = `${100 * (to - from)}%`;
    bar.append(piece);
  }
  return bar;
}

function lineOf({ at, level, source, message, task, index, attempt, fields }) {
  const part = task ? ` ${partOf({ task, index })}, attempt ${attempt}` : "";
  const details = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`);
  const time = new Date(at).toLocaleTimeString();
  return h("li", { "data-level": level }, h("span", { class: "note" }, `${time} ${level} ${source}${part} `), [message, ...details].join(" "));
}
