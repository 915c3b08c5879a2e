// From an idea to the form: a storyboard is written, refined by messages, and filled into the form each time.

import { request } from "../api.js";
import { byId, h, hide, isBusy, setBusy, setText } from "../dom.js";
import { explain } from "../problems.js";
import { promptsIn } from "./partial.js";
import { write } from "./writing.js";

const PLACE = "phoenix-storyboard";
const STATES = { writing: "The storyboard is being written.", draft: "The form below has the storyboard." };

export class StoryPanel {
  constructor(form) {
    this.form = form;
    on("story-new", "submit", () => this.begin());
    on("story-refine", "submit", () => this.refine());
    on("story-retry", "click", () => this.run(`/v1/storyboards/${this.storyboard.id}/retry`));
    on("story-stop", "click", () => this.stopping?.abort());
  }

  // The storyboard of this tab, after a reload. One that is still written is asked for again.
  async recall() {
    const id = sessionStorage.getItem(PLACE);
    const isSettled = this.storyboard && this.storyboard.state !== "writing";
    if (!id || this.stopping || isSettled) return;
    const known = await request(`/v1/storyboards/${id}`).catch((problem) => {
      if (problem.status === 404) sessionStorage.removeItem(PLACE);
    });
    if (known && !this.stopping) this.show(known);
  }

  begin() {
    const characters = byId("story-characters").value.split("\n").map((line) => line.split(":")).filter(([name]) => name.trim());
    return this.run("/v1/storyboards", {
      idea: byId("idea").value,
      model: byId("model").value || undefined,
      aspect_ratio: byId("aspect").value || undefined,
      num_clips: Number(byId("story-count").value) || undefined,
      duration_s: Number(byId("story-seconds").value) || undefined,
      style: byId("story-style").value.trim() || undefined,
      characters: characters.map(([name, ...look]) => ({ name: name.trim(), description: look.join(":").trim() })),
      caption: byId("story-caption").checked,
      narrate: byId("story-narrate").checked,
      voice: (byId("story-narrate").checked && byId("voice").value.trim()) || undefined,
    });
  }

  // A reel that was changed in the form goes along: the planner continues from it.
  async refine() {
    const reel = this.form.read();
    const isChanged = reel.clips.length && JSON.stringify(reel) !== this.filledIn;
    const wish = { text: byId("story-wish").value, reel: isChanged ? reel : undefined };
    if (await this.run(`/v1/storyboards/${this.storyboard.id}/messages`, wish)) byId("story-wish").value = "";
  }

  // Whether the storyboard has been written.
  async run(path, json) {
    if (this.stopping) return false;
    this.stopping = new AbortController();
    byId("story-problem").replaceChildren();
    this.text = { attempt: 1, written: "" };
    this.showWriting();
    try {
      await write(path, json, (event) => this.apply(event), this.stopping.signal);
    } catch (problem) {
      if (this.stopping.signal.aborted) await this.seeItEnd();
      else explain(byId("story-problem"), problem);
    } finally {
      this.stopping = null;
      this.showWriting();
    }
    return this.storyboard?.state === "draft";
  }

  // The server stops the language model when nobody follows any more.
  async seeItEnd() {
    for (let tries = 0; this.storyboard && tries < 20; tries++) {
      const known = await request(`/v1/storyboards/${this.storyboard.id}`).catch(() => null);
      if (known) this.show(known);
      if (known?.state !== "writing") return;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  apply(event) {
    if (event.type === "storyboard.delta") {
      if (event.attempt !== this.text.attempt) this.text = { attempt: event.attempt, written: "" };
      this.text.written += event.text;
      this.showWriting();
      return;
    }
    this.show(event.storyboard);
    if (event.type === "storyboard.written") this.fillIn(event.storyboard.reel);
  }

  fillIn(reel) {
    const { model, title, aspect_ratio: aspect, duration_s: duration, voice = "", fit_narration: fit = false } = reel;
    const values = { model, title, aspect, duration, voice, "fit-narration": fit };
    this.form.fillIn(values, reel.clips);
    this.filledIn = JSON.stringify(this.form.read());
  }

  show(storyboard) {
    this.storyboard = storyboard;
    sessionStorage.setItem(PLACE, storyboard.id);
    const said = storyboard.messages.map(({ role, text, refused }) =>
      h("li", { "data-role": role, "data-refused": refused }, h("span", { class: "unseen" }, role === "user" ? "You: " : "Planner: "), text),
    );
    byId("story-talk").replaceChildren(...said);
    byId("story-talk").hidden = false;
    this.showWriting();
  }

  showWriting() {
    const { storyboard, stopping } = this;
    const prompts = stopping ? promptsIn(this.text.written) : [];
    const list = byId("story-written");
    prompts.forEach((prompt, index) => setText(list.children[index] ?? list.appendChild(h("li", {})), prompt));
    while (list.children.length > prompts.length) list.lastChild.remove();
    list.hidden = !prompts.length;
    const failure = storyboard?.error && `${storyboard.error.code}: ${storyboard.error.message}`;
    setText(byId("story-state"), stopping ? STATES.writing : (failure ?? STATES[storyboard?.state] ?? ""));
    for (const button of document.querySelectorAll(".story [type=submit]")) setBusy(button, stopping);
    byId("story-refine").hidden = !storyboard;
    const next = () => byId(storyboard ? "story-wish" : "idea");
    hide(byId("story-retry"), Boolean(stopping) || !storyboard?.error?.retriable, next);
    hide(byId("story-stop"), !stopping, next);
  }

  // What one key has written is not for another.
  clear() {
    this.stopping?.abort();
    this.storyboard = null;
    sessionStorage.removeItem(PLACE);
    byId("story-talk").replaceChildren();
    byId("story-talk").hidden = true;
    this.showWriting();
  }
}

function on(id, name, act) {
  byId(id).addEventListener(name, (event) => {
    event.preventDefault();
    const button = byId(id).querySelector?.("[type=submit]") ?? byId(id);
    if (!isBusy(button)) act();
  });
}
