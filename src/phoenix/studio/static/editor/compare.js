// Two versions of a reel side by side. They play, stop and seek together.

import { getJob } from "../api.js";
import { byId, h, setText } from "../dom.js";
import { factsOf, titleOf } from "../job.js";
import { JobPlayer } from "../watch/player.js";
import { differences } from "./differences.js";

const APART_S = 0.15;

export class Comparison {
  constructor(failed) {
    this.failed = failed;
    this.players = [];
    byId("compare-play").addEventListener("click", () => this.toggle());
    byId("compare-start").addEventListener("click", () => this.seek(0));
  }

  async open(olderId, newerId) {
    this.close();
    const jobs = await Promise.all([getJob(olderId), getJob(newerId)]);
    this.players = jobs.map((job) => {
      const player = new JobPlayer({ failed: this.failed });
      player.update(job);
      return player;
    });
    byId("compare-versions").replaceChildren(...jobs.map((job, index) => this.side(job, this.players[index])));
    this.showDifferences(...jobs);
    this.join();
    byId("compare-title").focus();
  }

  side(job, player) {
    const empty = job.output ? null : h("p", { class: "note" }, `There is no result: the job is ${job.state}.`);
    return h(
      "section",
      { class: "panel", "aria-label": titleOf(job) },
      h("h3", {}, h("a", { href: `#job=${job.id}` }, titleOf(job))),
      player.element,
      empty,
      h("p", { class: "facts" }, factsOf(job)),
    );
  }

  get videos() {
    return this.players.map((player) => player.video).filter(Boolean);
  }

  // The first is the clock of the second: two videos that start together drift apart.
  join() {
    const [first, second] = this.videos;
    byId("compare-play").disabled = byId("compare-start").disabled = !second;
    if (!second) return;
    second.muted = true;
    first.addEventListener("play", () => second.play().catch(() => {}));
    first.addEventListener("pause", () => second.pause());
    first.addEventListener("seeking", () => (second.currentTime = first.currentTime));
    first.addEventListener("timeupdate", () => {
      if (Math.abs(first.currentTime - second.currentTime) > APART_S && !second.ended) second.currentTime = first.currentTime;
    });
    for (const name of ["play", "pause"]) {
      first.addEventListener(name, () => setText(byId("compare-play"), first.paused ? "Play both" : "Pause both"));
    }
  }

  toggle() {
    const [first] = this.videos;
    if (first.paused) first.play().catch(() => {});
    else first.pause();
  }

  seek(time) {
    for (const video of this.videos) video.currentTime = time;
  }

  showDifferences(older, newer) {
    const { clips, removed } = differences(older, newer);
    const rows = clips.map(({ index, change }) => {
      const clip = newer.clips[index];
      const reused = clip.reused ? "reused" : "rendered";
      return h("tr", {}, h("th", { scope: "row" }, `${index + 1}`), h("td", {}, change), h("td", {}, reused), h("td", {}, clip.prompt));
    });
    byId("compare-rows").replaceChildren(...rows);
    const gone = removed.map((index) => index + 1).join(", ");
    setText(byId("compare-removed"), gone && `No longer there: clip ${gone}.`);
  }

  close() {
    for (const player of this.players) player.dispose();
    this.players = [];
    byId("compare-versions").replaceChildren();
  }
}
