// One job on the page: built once, then brought up to date in place.

import { cancelJob, deleteJob, mediaUrl, retryJob } from "./api.js";
import { bytes, h, seconds, setText } from "./dom.js";
import { isOver } from "./progress.js";

export class Card {
  constructor(job, { changed, removed, failed }) {
    this.act = (action, done) => () => action(this.job.id).then(done, failed);
    this.title = h("h3", {}, titleOf(job));
    this.state = h("span", { class: "state" });
    this.meter = h("progress", { max: 1, "aria-label": "Progress of the job" });
    this.facts = h("p", { class: "facts" });
    this.clips = job.clips.map((clip) => new ClipCell(clip));
    this.trouble = h("p", { class: "trouble", hidden: true });
    this.player = h("div", { class: "player" });
    this.cancel = h("button", { type: "button", class: "quiet", onclick: this.act(cancelJob, changed) }, "Cancel");
    this.retry = h("button", { type: "button", class: "quiet", onclick: this.act(retryJob, changed) }, "Retry");
    this.download = h("a", { class: "button" }, "Download");
    this.remove = h("button", { type: "button", class: "quiet", onclick: this.act(deleteJob, () => removed(job)) }, "Delete");
    for (const action of [this.cancel, this.retry, this.download, this.remove]) {
      action.setAttribute("aria-label", `${action.textContent} ${titleOf(job)}`);
    }
    this.element = h(
      "li",
      { class: "job" },
      h("div", { class: "job-head" }, this.title, this.state),
      this.meter,
      h("ul", { class: "clips", "aria-label": "Clips" }, ...this.clips.map((cell) => cell.element)),
      this.facts,
      this.trouble,
      this.player,
      h("div", { class: "actions" }, this.cancel, this.retry, this.download, this.remove),
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
    this.trouble.hidden = !job.error;
    if (job.error) setText(this.trouble, `${job.error.code}: ${job.error.message}`);
    this.cancel.hidden = over;
    this.cancel.disabled = job.cancel_requested;
    this.retry.hidden = !over || job.state === "succeeded";
    this.remove.hidden = !over;
    this.download.hidden = !job.output;
    if (job.output && !this.video) this.showVideo(job);
  }

  showVideo(job) {
    const isSound = job.output.width == null;
    this.video = h(isSound ? "audio" : "video", { controls: true, preload: "none", playsinline: true });
    this.video.setAttribute("aria-label", titleOf(job));
    this.player.replaceChildren(this.video);
    if (!isSound) {
      this.video.width = job.output.width;
      this.video.height = job.output.height;
      mediaUrl(`${job.output.url}?variant=thumbnail`).then((url) => (this.video.poster = url), () => {});
    }
    this.download.download = `reel-${job.id}.mp4`;
    mediaUrl(job.output.url).then((url) => {
      this.video.src = url;
      this.download.href = url;
    }, () => {});
  }
}

class ClipCell {
  constructor(clip) {
    this.picture = h("img", { alt: "", hidden: true });
    this.fill = h("span", { class: "fill" });
    this.label = h("span", { class: "unseen" });
    this.element = h("li", { title: clip.prompt }, this.picture, this.fill, this.label);
  }

  update(clip, preview) {
    this.element.dataset.state = clip.state;
    this.fill.style.transform = `scaleX(${clip.state === "succeeded" ? 1 : clip.progress})`;
    const steps = clip.state === "running" ? `, step ${clip.step} of ${clip.steps}` : "";
    setText(this.label, `Clip ${clip.index + 1}, ${clip.state}${steps}: ${clip.prompt}`);
    this.picture.hidden = !preview || clip.state !== "running";
    if (preview && this.picture.src !== preview) this.picture.src = preview;
  }
}

function titleOf(job) {
  const first = job.clips[0]?.prompt ?? `${job.kind} ${job.id.slice(-6)}`;
  return job.clips.length > 1 ? `${first} +${job.clips.length - 1}` : first;
}

function factsOf(job) {
  const parts = [job.model, job.clips.length ? `${job.clips.length} clip${job.clips.length > 1 ? "s" : ""}` : job.kind];
  if (job.state === "queued") parts.push(job.waiting_reason ?? placeOf(job));
  if (job.state === "running") parts.push(`${Math.round(job.progress * 100)} %`);
  if (!isOver(job) && job.eta_s != null) parts.push(`${seconds(job.eta_s)} left`);
  if (job.output) {
    const { width, height, duration_s, size_bytes } = job.output;
    parts.push(width && `${width}×${height}`, seconds(duration_s), bytes(size_bytes));
  }
  if (job.timings?.total_s != null) parts.push(`took ${seconds(job.timings.total_s)}`);
  parts.push(new Date(job.created_at).toLocaleTimeString());
  return parts.filter(Boolean).join(" · ");
}

function placeOf(job) {
  if (job.queue_position == null) return "waiting";
  return job.queue_position ? `${job.queue_position} ahead` : "next";
}
