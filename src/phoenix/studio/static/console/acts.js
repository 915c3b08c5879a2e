// Buttons that steer, and pauses with their reasons.

import { confirmed, h, hide, setText } from "../dom.js";
import { when } from "../job.js";
import { pause, resume } from "./requests.js";

// Acts once at a time. With a question, on the second click. `subject` completes its name for a screen reader.
export function actButton(label, subject, act, question) {
  let isActing = false;
  const once = async () => {
    if (isActing) return;
    isActing = true;
    try {
      await act();
    } finally {
      isActing = false;
    }
  };
  const button = question ? confirmed(label, question, once) : h("button", { type: "button", class: "quiet", onclick: once }, label);
  button.setAttribute("aria-label", `${label} ${subject}`);
  return button;
}

export const pauseOf = (pauses, kind, name) => pauses.find((each) => each.kind === kind && each.name === name);

export function describePause({ paused_at: at, paused_by: by, reason }) {
  return `Paused since ${when(new Date(at))} by ${by}${reason ? `: ${reason}` : ", without a reason"}`;
}

// Pauses a queue, a model or a key, with a reason, or resumes it.
export class PauseControl {
  constructor(desk, kind, name) {
    const subject = kind === "key" ? `the owner ${name}` : `the ${kind} ${name}`;
    this.state = h("p", { class: "paused", hidden: true });
    this.reason = h("input", { maxlength: 200, placeholder: "reason, which waiting jobs show", "aria-label": `Reason to pause ${subject}` });
    this.begin = actButton("Pause", subject, () => this.ask());
    this.end = actButton("Resume", subject, () => desk.run(`${subject} goes on`, () => resume(kind, name)));
    this.cancel = actButton("Cancel", `the pause of ${subject}`, () => this.close());
    const now = h("button", { type: "submit", class: "primary", "aria-label": `Pause ${subject} now` }, "Pause now");
    this.form = h("form", { class: "one-line", hidden: true }, this.reason, now, this.cancel);
    this.form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const made = await desk.run(`${subject} is paused`, () => pause(kind, name, this.reason.value.trim()));
      if (made) this.close();
    });
    this.form.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    this.steers = desk.steers;
    this.buttons = [this.begin, this.end];
  }

  ask() {
    this.form.hidden = false;
    this.reason.focus();
    this.begin.hidden = true;
  }

  close() {
    this.reason.value = "";
    this.begin.hidden = Boolean(this.paused) || !this.steers;
    hide(this.form, true, () => (this.begin.hidden ? this.end : this.begin));
  }

  update(paused) {
    this.paused = paused;
    this.state.hidden = !paused;
    setText(this.state, paused ? describePause(paused) : "");
    if (paused) this.end.hidden = !this.steers;
    hide(this.begin, Boolean(paused) || !this.steers || !this.form.hidden, () => (this.form.hidden ? this.end : this.reason));
    if (!paused) hide(this.end, true, () => this.begin);
  }
}
