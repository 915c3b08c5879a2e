// One job on the page: built once, then brought up to date in place.

import { approveJob, cancelJob, changeJob, deleteJob, retryJob } from "./api.js";
import { confirmed, h, hide, ignoreRepeated, isBusy, setBusy, setText } from "./dom.js";
import { factsOf, titleOf } from "./job.js";
import { isOver } from "./progress.js";
import { isWatchable, JobPlayer } from "./watch/player.js";

// What may be done with a job now: the first of its buttons and links that are shown.
export const firstActionOf = (element) => element?.querySelector(".actions > :not([hidden])");

export class Card {
  constructor(job, { changed, removed, failed, reuse }) {
    this.failed = (problem) => {
      setText(this.refusal, problem.message);
      failed(problem);
    };
    this.act = (action, done) => {
      let isActing = false;
      return () => {
        if (isActing || isBusy(this.cancel)) return;
        isActing = true;
        setText(this.refusal, "");
        action(this.job.id).then(done, this.failed).finally(() => (isActing = false));
      };
    };
    this.title = h("h3", {}, titleOf(job));
    this.state = h("span", { class: "state" });
    this.meter = h("progress", { max: 1, "aria-label": "Progress of the job" });
    this.facts = h("p", { class: "facts" });
    this.tags = h("ul", { class: "tags", "aria-label": "Tags", hidden: true });
    this.clips = job.clips.map((clip) => new ClipCell(clip));
    this.warnings = h("ul", { class: "warnings", "aria-label": "Warnings", hidden: true });
    this.trouble = h("p", { class: "trouble", hidden: true });
    this.refusal = h("p", { class: "trouble", role: "alert" });
    this.player = new JobPlayer({ failed: this.failed, resultIsAt: (url) => (this.download.href = url) });
    this.approve = h("button", { type: "button", hidden: true, onclick: this.act(approveJob, changed) }, "Approve");
    this.cancel = h("button", { type: "button", class: "quiet", onclick: this.act(cancelJob, changed) }, "Cancel");
    this.retry = h("button", { type: "button", class: "quiet", onclick: this.act(retryJob, changed) }, "Retry");
    this.watch = h("button", { type: "button", class: "quiet", onclick: () => this.player.watch() }, "Watch");
    this.open = h("a", { class: "button secondary", href: `#job=${job.id}` }, "Open");
    this.again = h("button", { type: "button", class: "quiet", onclick: () => reuse(this.job) }, "Use again");
    this.again.hidden = job.kind !== "reel";
    this.download = h("a", { class: "button", download: `reel-${job.id}.mp4` }, "Download");
    this.remove = confirmed("Delete", "Delete for good?", this.act(deleteJob, () => removed(job)));
    const mark = (id) => changeJob(id, { favorite: !this.job.favorite });
    this.favorite = h("button", { type: "button", class: "quiet", onclick: this.act(mark, (marked) => this.marked(marked, changed)) }, "☆");
    this.favorite.setAttribute("aria-label", `Favorite: ${titleOf(job)}`);
    for (const action of [this.approve, this.cancel, this.retry, this.watch, this.open, this.again, this.download, this.remove]) {
      action.setAttribute("aria-label", `${action.textContent} ${titleOf(job)}`);
    }
    this.element = h(
      "li",
      { class: "job" },
      h("div", { class: "job-head" }, this.title, this.state),
      this.meter,
      h("ul", { class: "clips", "aria-label": "Clips" }, ...this.clips.map((cell) => cell.element)),
      this.warnings,
      this.facts,
      this.tags,
      this.trouble,
      this.refusal,
      this.player.element,
      h("div", { class: "actions", onkeydown: ignoreRepeated }, this.approve, this.cancel, this.retry, this.watch, this.open, this.again, this.download, this.remove, this.favorite),
    );
    this.update(job);
  }

  update(job) {
    this.job = job;
    const over = isOver(job);
    const state = job.cancel_requested && !over ? "canceling" : job.isAssembling && !over ? "assembling" : job.state;
    this.element.dataset.state = job.state;
    setText(this.state, state);
    this.meter.value = job.progress;
    this.meter.hidden = over;
    setText(this.facts, factsOf(job));
    job.clips.forEach((clip, index) => this.clips[index]?.update(clip, job.previews?.[clip.index]));
    this.showWarnings(job.clips);
    this.trouble.hidden = !job.error;
    if (job.error) setText(this.trouble, `${job.error.code}: ${job.error.message}`);
    setBusy(this.cancel, job.cancel_requested && !over);
    this.player.update(job);
    this.showMarks(job);
    this.showActions(over, job);
  }

  marked(job, changed) {
    this.update({ ...this.job, favorite: job.favorite });
    changed(job);
  }

  showMarks({ tags = [], favorite = false }) {
    if (tags.join() !== [...this.tags.children].map((tag) => tag.textContent).join()) {
      this.tags.replaceChildren(...tags.map((tag) => h("li", {}, tag)));
    }
    this.tags.hidden = !tags.length;
    setText(this.favorite, favorite ? "★" : "☆");
    this.favorite.setAttribute("aria-pressed", String(favorite));
  }

  // Once it is done, a clip keeps its warnings until a retry: the list is built anew only if their number changed.
  showWarnings(clips) {
    const lines = clips.flatMap((clip) => troublesOf(clip).map(({ message }) => `Clip ${clip.index + 1}: ${message}`));
    if (lines.length !== this.warnings.children.length) this.warnings.replaceChildren(...lines.map((line) => h("li", {}, line)));
    this.warnings.hidden = !lines.length;
  }

  showActions(over, job) {
    const focused = document.activeElement;
    this.approve.hidden = job.waiting_reason?.code !== "AWAITING_APPROVAL";
    this.cancel.hidden = over;
    this.retry.hidden = !over || job.state === "succeeded";
    this.remove.hidden = !over;
    this.watch.hidden = !isWatchable(job) || this.player.isGrowing;
    this.download.hidden = !job.output;
    if (focused.hidden && this.element.contains(focused)) firstActionOf(this.element).focus();
  }

  dispose(fallback) {
    this.player.dispose();
    const { nextElementSibling: next, previousElementSibling: previous } = this.element;
    hide(this.element, true, () => firstActionOf(next ?? previous) ?? fallback);
    this.element.remove();
  }
}

class ClipCell {
  constructor(clip) {
    this.picture = h("img", { alt: "", hidden: true });
    this.fill = h("span", { class: "fill" });
    this.label = h("span", { class: "unseen" });
    this.element = h("li", {}, this.picture, this.fill, this.label);
  }

  update(clip, preview) {
    this.element.dataset.state = clip.state;
    this.fill.style.transform = `scaleX(${clip.state === "succeeded" ? 1 : clip.progress})`;
    const steps = clip.state === "running" ? `, step ${clip.step} of ${clip.steps}` : "";
    const warned = troublesOf(clip).length ? ", with a warning" : "";
    this.element.dataset.warned = troublesOf(clip).length > 0;
    this.element.title = [clip.prompt, ...troublesOf(clip).map((warning) => warning.message)].join("\n");
    setText(this.label, `Clip ${clip.index + 1}, ${clip.state}${steps}${warned}: ${clip.prompt}`);
    this.picture.hidden = !preview || clip.state !== "running";
    if (preview && this.picture.src !== preview) this.picture.src = preview;
  }
}

// Warnings of the model, and checks that the clip has failed.
const troublesOf = (clip) => [...clip.warnings, ...(clip.checks ?? [])];
