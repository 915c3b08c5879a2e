// One chart: drawn by uPlot, said in a sentence, and written as a table.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, setText } from "../dom.js";
import { when } from "../job.js";
import { summaryOf } from "./series.js";

const HEIGHT = 170;
const MOST_ROWS = 200;

const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  constructor({ id, title }) {
    this.drawing = h("div", { class: "drawing", role: "img" });
    this.legend = h("ul", { class: "legend" });
    this.table = h("table", { class: "changes" });
    const region = h("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": `${title} as a table` }, this.table);
    this.details = h("details", { ontoggle: () => this.showTable() }, h("summary", {}, "As a table"), region);
    this.empty = h("p", { class: "note", hidden: true });
    this.title = h("h3", {}, title);
    this.element = h("figure", { id: `chart-${id}`, class: "panel chart" }, this.title, this.empty, this.drawing, this.legend, this.details);
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.drawing);
  }

  update(spec, times) {
    const isNew = !this.spec || linesOf(this.spec) !== linesOf(spec) || this.times.length !== times.length;
    this.spec = spec;
    this.times = times;
    const summaries = spec.lines.map(summaryOf);
    const isEmpty = summaries.every((each) => each === null || each.most === 0);
    setText(this.title, spec.title);
    setText(this.empty, isEmpty ? emptyText(spec.id) : "");
    this.empty.hidden = !isEmpty;
    for (const part of [this.drawing, this.legend, this.details]) part.hidden = isEmpty;
    if (isEmpty) return this.erase();
    this.drawing.setAttribute("aria-label", `${spec.title}. ${spec.lines.map((line, index) => said(line, summaries[index], spec.format)).join("; ")}`);
    if (isNew || !this.plot) this.draw();
    else this.plot.setData([times, ...spec.lines.map(({ values }) => values)]);
    this.showValues(null);
    this.showTable();
  }

  draw() {
    this.erase();
    const { lines, format } = this.spec;
    const axis = { stroke: colourOf("dim"), grid: { stroke: colourOf("line"), width: 1 }, ticks: { stroke: colourOf("line"), width: 1 } };
    const options = {
      width: this.drawing.clientWidth || 320,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "console" }, drag: { x: false, y: false } },
      scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.05 : 1] } },
      axes: [axis, { ...axis, size: 64, values: (_plot, splits) => splits.map(format) }],
      series: [{}, ...lines.map((line) => this.seriesOf(line))],
      hooks: { setCursor: [(plot) => this.showValues(plot.cursor.idx ?? null)] },
    };
    this.plot = new uPlot(options, [this.times, ...lines.map(({ values }) => values)], this.drawing);
  }

  // A value between two gaps has no line, so it gets a point.
  seriesOf({ label, colour, dash }) {
    const lone = (plot, index) => {
      const values = plot.data[index];
      return values.flatMap((value, at) => (value != null && values[at - 1] == null && values[at + 1] == null ? [at] : []));
    };
    return { label, stroke: colourOf(colour), width: 2, dash, points: { show: false, filter: lone, size: 6 } };
  }

  fit() {
    if (this.plot && this.drawing.clientWidth) this.plot.setSize({ width: this.drawing.clientWidth, height: HEIGHT });
  }

  erase() {
    this.plot?.destroy();
    this.plot = null;
  }

  // The values below the pointer; otherwise how many in all, or the latest values.
  showValues(index) {
    const { lines, format } = this.spec;
    const texts = lines.map((line) => {
      const overall = this.spec.isCounted ? line.values.reduce((sum, each) => sum + each, 0) : summaryOf(line)?.latest;
      const value = index == null ? overall : line.values[index];
      return `${line.label} ${value == null ? "none" : format(value)}`;
    });
    if (this.legend.children.length !== lines.length || this.legend.dataset.lines !== linesOf(this.spec)) {
      this.legend.dataset.lines = linesOf(this.spec);
      this.legend.replaceChildren(...lines.map(({ colour, dash }) => h("li", { "data-colour": colour, "data-dashed": String(Boolean(dash)) }, h("span", {}))));
    }
    texts.forEach((text, at) => setText(this.legend.children[at].firstChild, text));
  }

  showTable() {
    if (!this.details.open || !this.spec) return;
    const { lines, format } = this.spec;
    const happened = (at) => lines.some(({ values }) => values[at]);
    const rows = this.times.map((_, at) => at).filter(happened).reverse().slice(0, MOST_ROWS);
    const head = h("tr", {}, ...["From", ...lines.map(({ label }) => label)].map((text) => h("th", { scope: "col" }, text)));
    const body = rows.map((at) => {
      const values = lines.map(({ values }) => h("td", {}, values[at] == null ? "none" : format(values[at])));
      return h("tr", {}, h("th", { scope: "row" }, when(new Date(this.times[at] * 1000))), ...values);
    });
    this.table.replaceChildren(h("thead", {}, head), h("tbody", {}, ...body));
  }

  close() {
    this.resized.disconnect();
    this.erase();
  }
}

const linesOf = ({ lines }) => lines.map(({ label }) => label).join();

const said = ({ label }, summary, format) =>
  summary ? `${label}: latest ${format(summary.latest)}, at most ${format(summary.most)}` : `${label}: no values`;

function emptyText(id) {
  if (id === "failures") return "Nothing has failed.";
  if (id.endsWith("memory")) return "No device with memory of its own was seen.";
  return "Nothing has happened.";
}
