// Jobs that were found by words, tags and their mark: a list of its own, the best first.

import { listJobs } from "../api.js";
import { Card } from "../card.js";
import { byId, hide, setText } from "../dom.js";
import { counted } from "../job.js";

const PAGE = 20;

// Words that begin with # are tags. Pure.
export function queryOf(text, favorites) {
  const parts = text.trim().split(/\s+/).filter(Boolean);
  const isTag = (part) => part.startsWith("#") && part.length > 1;
  const words = parts.filter((part) => !isTag(part)).join(" ");
  const tags = parts.filter(isTag).map((part) => ["tag", part.slice(1)]);
  return [...(words ? [["q", words]] : []), ...tags, ...(favorites ? [["favorite", "true"]] : [])];
}

export class Search {
  // `jobs` is the list of jobs, which keeps a job that is changed here.
  constructor({ jobs, failed }) {
    Object.assign(this, { jobs, failed, cards: new Map(), query: [] });
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch(failed);
    });
    byId("search-favorites").addEventListener("change", () => this.begin().catch(failed));
    byId("found-more").addEventListener("click", () => this.load().catch(failed));
    byId("found-close").addEventListener("click", () => this.close());
  }

  async begin() {
    this.query = queryOf(byId("search-words").value, byId("search-favorites").checked);
    this.cursor = null;
    if (!this.query.length) return this.close();
    const begun = this.query;
    const answer = await listJobs([...this.query, ["limit", PAGE]]);
    if (begun !== this.query) return;
    this.empty();
    this.append(answer);
    byId("found-section").hidden = false;
  }

  async load() {
    const begun = this.query;
    const answer = await listJobs([...this.query, ["limit", PAGE], ["cursor", this.cursor]]);
    if (begun === this.query) this.append(answer);
  }

  append({ data, has_more: hasMore, next_cursor: cursor }) {
    this.cursor = cursor;
    for (const job of data) {
      if (this.cards.has(job.id)) continue;
      const card = new Card(job, this.reactions());
      this.cards.set(job.id, card);
      byId("found").append(card.element);
    }
    setText(byId("found-title"), this.cards.size ? `${counted(this.cards.size, "job")}${hasMore ? " and more" : ""}` : "Nothing was found");
    hide(byId("found-more"), !hasMore, () => byId("found-close"));
  }

  reactions() {
    const { jobs, failed } = this;
    return {
      // A job that is too old for the list is shown here alone.
      changed: (job) => (jobs.find(job.id) ? jobs.put(job) : this.cards.get(job.id)?.update(job)),
      removed: (job) => {
        jobs.remove(job.id);
        this.remove(job.id);
      },
      failed,
      reuse: jobs.reuse,
    };
  }

  // A job that the list knows better, because it changed since.
  refresh() {
    for (const [id, card] of this.cards) if (jobIsNewer(this.jobs.find(id), card.job)) card.update(this.jobs.find(id));
  }

  remove(id) {
    this.cards.get(id)?.dispose(byId("search-words"));
    this.cards.delete(id);
  }

  empty() {
    for (const id of [...this.cards.keys()]) this.remove(id);
    byId("found").replaceChildren();
  }

  close() {
    this.query = [];
    hide(byId("found-section"), true, () => byId("search-words"));
    this.empty();
  }
}

const jobIsNewer = (known, shown) => known && known !== shown;
