// One job on the page: built once, then brought up to date in place.

import { approveJob, cancelJob, deleteJob, mediaUrls, retryJob } from "./api.js";
import { bytes, confirmed, h, hide, ignoreRepeated, isBusy, seconds, setBusy, setText } from "./dom.js";
import { isOver } from "./progress.js";

// What may be done with a job now: the first of its buttons and links that are shown.
export const firstActionOf = (element) => element?.querySelector(".actions > :not([hidden])");

export class Card {
  constructor(job, { changed, removed, failed }) {
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
    this.clips = job.clips.map((clip) => new ClipCell(clip));
    this.warnings = h("ul", { class: "warnings", "aria-label": "Warnings", hidden: true });
    this.trouble = h("p", { class: "trouble", hidden: true });
    this.refusal = h("p", { class: "trouble", role: "alert" });
    this.player = h("div", { class: "player" });
    this.approve = h("button", { type: "button", hidden: true, onclick: this.act(approveJob, changed) }, "Approve");
    this.cancel = h("button", { type: "button", class: "quiet", onclick: this.act(cancelJob, changed) }, "Cancel");
    this.retry = h("button", { type: "button", class: "quiet", onclick: this.act(retryJob, changed) }, "Retry");
    this.download = h("a", { class: "button" }, "Download");
    this.remove = confirmed("Delete", "Delete for good?", this.act(deleteJob, () => removed(job)));
    for (const action of [this.approve, this.cancel, this.retry, this.download, this.remove]) {
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
      this.trouble,
      this.refusal,
      this.player,
      h("div", { class: "actions", onkeydown: ignoreRepeated }, this.approve, this.cancel, this.retry, this.download, this.remove),
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
    if (job.output && !this.video) this.showVideo(job);
    this.showActions(over, job);
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
    this.download.hidden = !job.output;
    if (focused.hidden && this.element.contains(focused)) firstActionOf(this.element).focus();
  }

  showVideo(job) {
    const isSound = job.output.width == null;
    this.video = h(isSound ? "audio" : "video", { controls: true, preload: "none", playsinline: true });
    this.video.setAttribute("aria-label", titleOf(job));
    this.video.addEventListener("error", () => this.renewUrls());
    this.player.replaceChildren(this.video);
    if (!isSound) {
      this.video.width = job.output.width;
      this.video.height = job.output.height;
    }
    this.download.download = `reel-${job.id}.mp4`;
    this.setUrls().catch(this.failed);
  }

  async setUrls() {
    const urls = await mediaUrls(this.job);
    this.urlsEndAt = urls.expiresAt;
    this.download.href = this.video.src = urls.content;
    if (urls.thumbnail && this.job.output.width != null) this.video.poster = urls.thumbnail;
  }

  // A page may be open for longer than its URLs work: the video goes on where it was.
  async renewUrls() {
    if (!(this.urlsEndAt < Date.now())) return;
    const { currentTime } = this.video;
    await this.setUrls().catch(this.failed);
    this.video.currentTime = currentTime;
    this.video.play().catch(() => {});
  }

  dispose(fallback) {
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

function titleOf(job) {
  const first = job.clips[0]?.prompt ?? `${job.kind} ${job.id.slice(-6)}`;
  return job.clips.length > 1 ? `${first} +${job.clips.length - 1}` : first;
}

function factsOf(job) {
  const parts = [job.model, job.clips.length ? `${job.clips.length} clip${job.clips.length > 1 ? "s" : ""}` : job.kind];
  if (job.draft_of) parts.push("draft");
  if (job.state === "held") parts.push(job.waiting_reason?.detail);
  if (job.state === "queued") parts.push(job.waiting_reason?.detail ?? placeOf(job));
  if (job.state === "running") parts.push(`${Math.round(job.progress * 100)} %`, job.waiting_reason?.detail);
  if (!isOver(job) && job.eta_s != null) parts.push(`${seconds(job.eta_s)} left`);
  if (job.output) {
    const { width, height, duration_s, size_bytes } = job.output;
    parts.push(width && `${width}×${height}`, seconds(duration_s), bytes(size_bytes));
  }
  if (job.timings?.total_s != null) parts.push(`took ${seconds(job.timings.total_s)}`);
  parts.push(when(new Date(job.created_at)), job.id);
  return parts.filter(Boolean).join(" · ");
}

function when(time) {
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString() : time.toLocaleString();
}

function placeOf(job) {
  if (job.queue_position == null) return "waiting";
  return job.queue_position ? `${job.queue_position} ahead` : "next";
}
