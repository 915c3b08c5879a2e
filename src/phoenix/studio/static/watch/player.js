// The player of one job: its result, or, before there is one, the reel as it grows.

import { mediaUrls } from "../api.js";
import { h } from "../dom.js";
import { titleOf } from "../job.js";
import { playGrowing } from "./growing.js";

// A reel can be watched as soon as its first clip is done. What failed or was canceled is watched up to there.
export const isWatchable = (job) => job.kind === "reel" && !job.output && job.clips[0]?.state === "succeeded";

export class JobPlayer {
  // `failed` gets problems, and `resultIsAt` the URL of the result.
  constructor({ failed, resultIsAt = () => {} }) {
    this.failed = failed;
    this.resultIsAt = resultIsAt;
    this.element = h("div", { class: "player" });
    this.endGrowing = null;
  }

  get isGrowing() {
    return Boolean(this.endGrowing) && !this.video.ended;
  }

  update(job) {
    this.job = job;
    if (!job.output || this.showsResult) return;
    // A reel that plays as it grows is not interrupted: the result is shown at the next pause or at the end.
    if (!this.endGrowing || this.video.paused) this.showResult();
    else this.video.onended = this.video.onpause = (event) => this.video.ended === (event.type === "ended") && this.showResult();
  }

  // Begins to play the clips that are done. The others follow while they are rendered.
  async watch() {
    if (!this.video) this.makeVideo();
    // The button that was pressed goes away.
    this.video.focus();
    const startAt = this.video.currentTime;
    this.endGrowing?.();
    try {
      const { playlist, expiresAt } = await mediaUrls(this.job);
      this.urlsEndAt = expiresAt;
      this.endGrowing = await playGrowing(this.video, playlist, startAt, (text) => this.growingFailed(text));
      // The job may have ended meanwhile.
      if (this.showsResult) await this.setUrls();
      await this.video.play().catch(() => {});
    } catch (problem) {
      this.failed(problem);
    }
  }

  growingFailed(text) {
    if (this.urlsEndAt < Date.now()) this.watch();
    else this.failed(new Error(text));
  }

  showResult() {
    if (this.showsResult) return;
    this.showsResult = true;
    if (!this.video) this.makeVideo();
    Object.assign(this.video, { onpause: null, onended: null });
    const { width, height } = this.job.output;
    if (width) Object.assign(this.video, { width, height });
    this.setUrls(this.video.ended ? 0 : this.video.currentTime).catch(this.failed);
  }

  makeVideo() {
    const isSound = this.job.output && this.job.output.width == null;
    this.video = h(isSound ? "audio" : "video", { controls: true, preload: "none", playsinline: true });
    this.video.setAttribute("aria-label", titleOf(this.job));
    this.video.addEventListener("error", () => this.renewUrls());
    this.element.replaceChildren(this.video);
  }

  async setUrls(startAt = 0) {
    const urls = await mediaUrls(this.job);
    this.urlsEndAt = urls.expiresAt;
    this.endGrowing?.();
    this.endGrowing = null;
    this.video.src = urls.content;
    if (startAt) this.video.currentTime = startAt;
    this.resultIsAt(urls.content);
    this.addCaptions(urls.captions);
    if (urls.thumbnail && this.job.output.width != null) this.video.poster = urls.thumbnail;
  }

  // Burned captions are in the picture.
  addCaptions(url) {
    if (!this.job.output.captions?.length || this.job.request.captions !== "track") return;
    const track = this.video.querySelector("track") ?? this.video.appendChild(h("track", { kind: "captions", label: "Captions" }));
    track.src = url;
  }

  // A page may be open for longer than its URLs work: the video continues where it was.
  async renewUrls() {
    if (!this.showsResult || !(this.urlsEndAt < Date.now())) return;
    await this.setUrls(this.video.currentTime).catch(this.failed);
    this.video.play().catch(() => {});
  }

  dispose() {
    this.endGrowing?.();
    this.video?.pause();
  }
}
