// The page of one reel: it is watched, edited into a new version, and compared with the version before it.

import { approveJob, changeJob, editReel, getJob, mediaUrls, upload } from "../api.js";
import { byId, h, hide, ignoreRepeated, isBusy, setBusy, setText } from "../dom.js";
import { moveElement } from "../clips/sortable.js";
import { counted, factsOf, titleOf } from "../job.js";
import { isOver } from "../progress.js";
import { explain } from "../problems.js";
import { isWatchable, JobPlayer } from "../watch/player.js";
import { EditedClip } from "./clip.js";
import { costOf, draftOf, editOf, isChanged } from "./draft.js";
import { ReelOptions } from "./options.js";

export class ReelPage {
  // `jobs` knows the jobs of the list, and `onSubmitted` gets the new version.
  constructor({ jobs, models, onSubmitted, reuse, failed }) {
    Object.assign(this, { jobs, models, onSubmitted, failed });
    this.options = new ReelOptions(() => this.showChanges());
    byId("edit").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    byId("edit").addEventListener("keydown", ignoreRepeated);
    byId("edit-reset").addEventListener("click", () => this.build());
    byId("edit-append").addEventListener("click", () => this.insertAt(this.list.children.length));
    byId("reel-watch").addEventListener("click", () => this.player.watch().then(() => this.refresh()));
    byId("reel-approve").addEventListener("click", () => this.act(approveJob(this.id)));
    byId("reel-favorite").addEventListener("click", () => this.act(changeJob(this.id, { favorite: !this.job.favorite })));
    byId("reel-tags-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const tags = byId("reel-tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
      this.act(changeJob(this.id, { title: byId("reel-name").value.trim(), tags }));
    });
    byId("reel-again").addEventListener("click", () => reuse(this.job));
    this.list = byId("edit-clips");
  }

  get id() {
    return this.job?.id;
  }

  async open(id) {
    this.close();
    const job = await getJob(id);
    this.player = new JobPlayer({ failed: this.failed });
    byId("reel-player").replaceChildren(this.player.element);
    byId("reel-name").value = job.title ?? "";
    byId("reel-tags").value = job.tags.join(", ");
    this.urls = job.kind === "reel" ? await mediaUrls(job) : null;
    this.job = job;
    this.build();
    this.update(job);
    byId("reel-title").focus();
  }

  close() {
    this.player?.dispose();
    this.player = this.job = null;
    this.list.replaceChildren();
  }

  async refresh() {
    if (!this.job) return;
    if (!isOver(this.job) || !this.isSettled) this.update(await getJob(this.job.id));
    else this.showVersions();
  }

  act(answer) {
    setText(byId("reel-refusal"), "");
    return answer.then(
      (job) => {
        if (this.jobs.find(job.id)) this.jobs.put(job);
        this.update(job);
        setText(byId("news"), "Done");
      },
      (problem) => setText(byId("reel-refusal"), problem.message),
    );
  }

  // A job that has ended is asked for once more: its last event came before its takes were read.
  update(job) {
    if (this.id !== job.id) return;
    const wasOver = isOver(this.job);
    this.isSettled = isOver(job);
    this.job = job;
    setText(byId("reel-title"), titleOf(job));
    setText(byId("reel-state"), job.state);
    byId("reel-page").dataset.state = job.state;
    setText(byId("reel-facts"), factsOf(job));
    setText(byId("reel-trouble"), job.error ? `${job.error.code}: ${job.error.message}` : "");
    this.player.update(job);
    hide(byId("reel-approve"), job.waiting_reason?.code !== "AWAITING_APPROVAL", () => byId("reel-title"));
    byId("reel-favorite").setAttribute("aria-pressed", String(job.favorite));
    byId("reel-watch").hidden = !isWatchable(job) || this.player.isGrowing;
    if (!wasOver && isOver(job)) this.build();
    const previews = this.jobs.find(job.id)?.previews;
    for (const view of this.views()) {
      const clip = job.clips[view.from];
      if (clip && this.urls) view.update(clip, this.urls, previews?.[clip.index], this.actions());
    }
    this.showVersions();
  }

  showVersions() {
    const { edited_from: from, id } = this.job;
    const later = this.jobs.all().filter((job) => job.edited_from === id);
    const links = later.map((job) => h("li", {}, h("a", { href: `#job=${job.id}` }, `Later version: ${titleOf(job)}`)));
    const { draft_job_id: draft, draft_of: final } = this.job;
    if (draft) links.push(h("li", {}, h("a", { href: `#job=${draft}` }, "Its draft")));
    if (final) links.push(h("li", {}, h("a", { href: `#job=${final}` }, "The reel of this draft")));
    if (from) links.unshift(h("li", {}, h("a", { href: `#compare=${from},${id}` }, "Compare with the version before")));
    if (from) links.unshift(h("li", {}, h("a", { href: `#job=${from}` }, "The version before")));
    if (links.length !== byId("reel-versions").children.length) byId("reel-versions").replaceChildren(...links);
    byId("reel-versions").hidden = !links.length;
  }

  // The cards of the clips, as they are. Whatever was changed is forgotten.
  build() {
    const { job } = this;
    const isReel = job.kind === "reel";
    byId("edit").hidden = byId("reel-again").hidden = !isReel;
    if (!isReel) return;
    this.before = draftOf(job);
    byId("edit-fields").disabled = !isOver(job);
    byId("edit").dataset.ended = isOver(job);
    setText(byId("edit-note"), isOver(job) ? "" : "It can be edited once it has ended.");
    byId("edit-problem").replaceChildren();
    this.options.show(this.before, this.models(), job);
    const views = this.before.clips.map((values) => this.card(values, values));
    this.list.replaceChildren(...views.map(({ element }) => element));
    for (const view of views) if (this.urls) view.update(job.clips[view.from], this.urls, null, this.actions());
    this.showChanges();
  }

  card(values, original) {
    const view = new EditedClip({ values, original, list: this.list, actions: this.actions() });
    view.setModel(this.options.model);
    return view;
  }

  views() {
    return [...this.list.children].map(({ view }) => view);
  }

  actions() {
    return {
      changed: () => this.showChanges(),
      move: (item, to) => {
        moveElement(this.list, item, to);
        this.showChanges();
        setText(byId("news"), `Clip ${to + 1} of ${this.list.children.length}`);
      },
      remove: ({ element }) => {
        const next = element.nextElementSibling ?? element.previousElementSibling;
        hide(element, true, () => next?.view.remove ?? byId("edit-append"));
        element.remove();
        this.showChanges();
      },
      insertAfter: ({ element }) => this.insertAt([...this.list.children].indexOf(element) + 1),
    };
  }

  insertAt(index) {
    const view = this.card({ from: null, prompt: "" }, null);
    this.list.insertBefore(view.element, this.list.children[index] ?? null);
    this.showChanges();
    view.fields.prompt.focus();
  }

  draft() {
    return { ...this.options.read(), clips: this.views().map((view) => view.values()) };
  }

  showChanges() {
    this.views().forEach((view, index) => {
      view.setModel(this.options.model);
      view.show(index);
    });
    const draft = this.draft();
    const { rendered, reused } = costOf(this.job, draft);
    const changed = isChanged(this.job, draft);
    setText(byId("edit-plan"), changed ? `${counted(rendered, "clip")} rendered, ${reused} reused` : "Nothing is changed yet.");
    setBusy(byId("edit-submit"), !changed);
  }

  async submit() {
    const button = byId("edit-submit");
    if (isBusy(button)) return;
    setBusy(button, true);
    byId("edit-problem").replaceChildren();
    try {
      await Promise.all(this.views().map(({ guides }) => guides.settled()));
      const draft = this.draft();
      const [file] = byId("edit-audio").files;
      if (file) draft.soundtrack = (await upload(file)).id;
      this.onSubmitted(await editReel(this.job.id, editOf(this.job, draft)));
    } catch (problem) {
      explain(byId("edit-problem"), problem);
    } finally {
      setBusy(button, false);
    }
  }
}

