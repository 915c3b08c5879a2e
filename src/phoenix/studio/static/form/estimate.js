// What the server says of the reel before it is submitted. It is asked once the form has rested for a moment.

import { estimateReel, KeyChanged } from "../api.js";
import { byId, h, seconds, setText } from "../dom.js";
import { counted } from "../job.js";

const REST_MS = 500;
// The queue moves while nobody writes.
const OLD_MS = 15000;
const SHOWN_FAULTS = 2;

export class EstimateLine {
  constructor() {
    this.element = byId("estimate");
    this.stop();
  }

  // `hasFiles`: files are chosen that the server does not have yet, so that it may miss some.
  follow(reel, hasFiles) {
    const written = reel.clips.length ? JSON.stringify([reel, hasFiles]) : "";
    if (written === this.written) return;
    this.stop();
    if (!written) return this.show([]);
    Object.assign(this, { written, reel, hasFiles });
    this.element.dataset.old = true;
    this.timer = setTimeout(() => this.ask(), REST_MS);
  }

  refresh() {
    if (this.written && Date.now() - this.askedAt > OLD_MS) this.ask();
  }

  // Nothing is asked any more until something is written.
  stop() {
    clearTimeout(this.timer);
    Object.assign(this, { written: "", askedAt: Infinity });
  }

  async ask() {
    const { written } = this;
    this.askedAt = Date.now();
    const lines = await estimateReel(this.reel).then(describeEstimate, (problem) => this.explain(problem));
    if (written === this.written) this.show(lines);
  }

  explain(problem) {
    if (problem instanceof KeyChanged || problem.status === 401) return [];
    if (problem.status === 422 && this.hasFiles) return ["What it takes is known once its files are uploaded."];
    return describeFaults(problem);
  }

  show(lines) {
    delete this.element.dataset.old;
    lines.forEach((line, index) => setText(this.element.children[index] ?? this.element.appendChild(h("span", {})), line));
    while (this.element.children.length > lines.length) this.element.lastChild.remove();
  }
}

// Pure: what is known in one line, and what is not known in another.
export function describeEstimate(estimate) {
  const { draft, unknown } = estimate;
  const reused = estimate.clips.reduce((total, clip) => total + clip.reused, 0);
  const known = [
    reused && `${counted(reused, "clip")} reused`,
    timeOf(estimate),
    estimate.wait_s && `starts in ${about(estimate.wait_s)}`,
    estimate.eta_s != null && `done in ${about(estimate.eta_s)}`,
    priceOf(estimate.price),
    draft && `its draft: ${[timeOf(draft), draft.eta_s != null && `done in ${about(draft.eta_s)}`, priceOf(draft.price)].filter(Boolean).join(", ")}`,
    estimate.adjustments.length && `${counted(estimate.adjustments.length, "value")} rounded`,
  ];
  // Most servers have no prices, and that is no news.
  const reasons = new Set(unknown.filter(({ name }) => name !== "price").map(({ detail }) => detail));
  return [known.filter(Boolean).join(" · "), [...reasons].join(" ")].filter(Boolean);
}

export function describeFaults({ message, fieldErrors = [] }) {
  if (!fieldErrors.length) return [`It would be refused: ${message}`];
  const shown = fieldErrors.slice(0, SHOWN_FAULTS).map(({ pointer, detail }) => `${pointer} ${detail}`);
  const others = fieldErrors.length - shown.length;
  return [`It would be refused: ${shown.join("; ")}${others ? `; and ${others} more` : ""}`];
}

const timeOf = ({ render_s: time }) => time != null && `${about(time)} of device time`;
const about = (time) => (time < 1 ? "less than 1 s" : `about ${seconds(time).replace(".0 s", " s")}`);

function priceOf(price) {
  if (!price) return "";
  return new Intl.NumberFormat("en", { style: "currency", currency: price.currency, maximumSignificantDigits: 3 }).format(price.amount);
}
