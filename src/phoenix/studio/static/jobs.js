// The list of jobs: polled, with a live stream for the few that run.

import { listJobs } from "./api.js";
import { Card, firstActionOf } from "./card.js";
import { byId, hide, setText } from "./dom.js";
import { FIRST, Pages } from "./pages.js";
import { applyEvent, isOver } from "./progress.js";
import { follow } from "./stream.js";

const PAGE = 20;
const LONGEST_PAGE = 100;
// A browser opens six connections to a server, in all tabs together; some must stay free for everything else.
const MOST_STREAMS = 3;

export class JobList {
  constructor({ onProblem, reuse }) {
    this.jobs = new Map();
    this.cards = new Map();
    this.streams = new Map();
    this.pages = new Pages();
    this.onProblem = onProblem;
    this.reuse = reuse;
    byId("filter").addEventListener("change", () => {
      this.pages.reset();
      this.refresh().catch(onProblem);
    });
    byId("older").addEventListener("click", () => this.showOlder().catch(onProblem));
  }

  async refresh() {
    const first = await this.load(FIRST, PAGE);
    const next = this.pages.next(first);
    if (next) this.pages.walked(await this.load(next, LONGEST_PAGE));
    this.first = first;
    this.show(first.has_more);
  }

  async showOlder() {
    if (this.isLoading || !this.first) return;
    this.isLoading = true;
    try {
      const shown = byId("jobs").children.length;
      const page = this.pages.older(this.first);
      const answer = await this.ask(page, PAGE);
      this.pages.grew(answer);
      this.apply(page, answer);
      this.show(true, () => firstActionOf(byId("jobs").children[shown]));
    } finally {
      this.isLoading = false;
    }
  }

  ask({ cursor }, limit) {
    const state = byId("filter").value;
    return listJobs({ limit, ...(cursor && { cursor }), ...(state && { state }) });
  }

  async load(page, limit) {
    const answer = await this.ask(page, limit);
    this.apply(page, answer);
    return answer;
  }

  apply(page, answer) {
    const listed = new Set(answer.data.map((job) => job.id));
    for (const id of [...this.jobs.keys()]) if (!listed.has(id) && this.pages.covers(page, answer, id)) this.remove(id);
    // A job that is streamed is known better than this page knows it.
    for (const job of answer.data) if (!this.streams.has(job.id) && this.pages.shows(job.id)) this.put(job);
  }

  show(firstHasMore, firstOlder = () => null) {
    const jobs = this.all().sort((a, b) => (a.id < b.id ? 1 : -1));
    const state = byId("filter").value;
    this.order(jobs);
    this.followSome(jobs);
    const hasOlder = this.pages.isDeep ? this.pages.hasOlder : firstHasMore;
    hide(byId("older"), !hasOlder, () => firstOlder() ?? byId("filter"));
    byId("jobs-empty").hidden = jobs.length > 0;
    setText(byId("jobs-empty"), state ? `No job is ${state}.` : "No jobs yet. The form makes the first one.");
  }

  put(job) {
    const before = this.jobs.get(job.id);
    const known = { ...job, previews: job.previews ?? before?.previews };
    this.jobs.set(job.id, known);
    if (before && !isOver(before) && isOver(known)) this.notify(known);
    if (this.cards.has(job.id)) this.cards.get(job.id).update(known);
    else this.cards.set(job.id, new Card(known, this.reactions()));
  }

  reactions() {
    return {
      changed: (job) => {
        this.put(job);
        this.followSome([...this.jobs.values()]);
      },
      removed: (job) => this.remove(job.id),
      failed: this.onProblem,
      reuse: this.reuse,
    };
  }

  remove(id) {
    this.streams.get(id)?.abort();
    this.cards.get(id)?.dispose(byId("filter"));
    for (const map of [this.jobs, this.cards, this.streams]) map.delete(id);
  }

  // Moves only what is out of place: moving an element takes the focus out of it.
  order(jobs) {
    const list = byId("jobs");
    jobs.forEach((job, index) => {
      const element = this.cards.get(job.id).element;
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
  }

  followSome(jobs) {
    const waiting = jobs.filter((job) => !isOver(job) && job.state !== "held" && !this.streams.has(job.id));
    // A job may be held for days: the next refresh shows its draft.
    const urgency = (job) => (job.state === "running" ? 0 : 1);
    waiting.sort((a, b) => urgency(a) - urgency(b));
    for (const job of waiting.slice(0, MOST_STREAMS - this.streams.size)) this.follow(job.id);
  }

  follow(id) {
    const stop = new AbortController();
    this.streams.set(id, stop);
    const apply = (event) => this.jobs.has(id) && this.put(applyEvent(this.jobs.get(id), event));
    follow(id, apply, stop.signal)
      .catch(() => {})
      .finally(() => this.streams.get(id) === stop && this.streams.delete(id));
  }

  find(id) {
    return this.jobs.get(id);
  }

  all() {
    return [...this.jobs.values()];
  }

  // What one key may see is not for another.
  clear() {
    for (const id of [...this.jobs.keys()]) this.remove(id);
    this.pages.reset();
    this.first = null;
    hide(byId("older"), true, () => byId("filter"));
    byId("jobs-empty").hidden = true;
    setText(byId("news"), "");
  }

  stop() {
    for (const stream of this.streams.values()) stream.abort();
    this.streams.clear();
  }

  notify(job) {
    setText(byId("news"), `${job.clips[0]?.prompt ?? job.id}: ${job.state}`);
  }
}
