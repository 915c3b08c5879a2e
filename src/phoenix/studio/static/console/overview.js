// Charts of what the fleet did: throughput, waits, failures, utilisation and memory.

import { h } from "../dom.js";
import { Chart } from "./chart.js";
import { getStats } from "./requests.js";
import { chartsOf, gridOf, tilesOf, WINDOWS } from "./series.js";

// What has ended counts within five seconds.
const EVERY_MS = 5000;
const STYLES = "/studio/vendor/uplot/uPlot.min.css";

export class Overview {
  constructor(desk) {
    this.desk = desk;
    this.charts = new Map();
    if (!document.querySelector(`link[href="${STYLES}"]`)) document.head.append(h("link", { rel: "stylesheet", href: STYLES }));
    const ask = () => this.ask().catch((problem) => desk.fail(problem));
    this.window = h("select", { id: "stats-window", onchange: ask }, ...WINDOWS.map(({ name }, index) => h("option", { value: index, selected: index === 2 }, name)));
    this.subject = h("select", { id: "stats-subject", onchange: ask }, h("option", { value: "" }, "everything"));
    this.tiles = h("dl", { class: "tiles" });
    this.board = h("div", { class: "charts" });
    this.element = h(
      "div",
      { class: "console-part" },
      h("div", { class: "controls" }, h("label", { for: "stats-window" }, "Time"), this.window, h("label", { for: "stats-subject" }, "Of"), this.subject),
      this.tiles,
      this.board,
    );
    this.colours = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => this.charts.forEach((chart) => chart.plot && chart.draw());
    this.colours.addEventListener("change", this.repaint);
  }

  async refresh() {
    if (Date.now() - (this.askedAt ?? 0) > EVERY_MS) await this.ask();
  }

  async opened() {
    const groups = async (by) => (await getStats({ by, step: "day", from: hoursAgo(30 * 24) })).series.map(({ group }) => [`${by} ${group}`, `${by}=${group}`]);
    const found = [...(await groups("queue")), ...(await groups("model"))];
    this.subject.append(...found.map(([name, value]) => h("option", { value }, name)));
  }

  async ask() {
    const asked = (this.asked = Symbol());
    this.askedAt = Date.now();
    const { hours, step } = WINDOWS[this.window.value];
    const [by, ...name] = this.subject.value.split("=");
    const stats = await getStats({ step, from: hoursAgo(hours), ...(by && { by }) });
    if (this.asked !== asked) return;
    const group = name.join("=") || null;
    this.show(stats.series.find((series) => series.group === group), gridOf(stats.start, stats.end, step), by);
  }

  show(series, times, by) {
    this.tiles.replaceChildren(...tilesOf(series, by).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    const specs = chartsOf(series, times, by);
    for (const [id, chart] of this.charts) {
      if (specs.some((spec) => spec.id === id)) continue;
      chart.close();
      chart.element.remove();
      this.charts.delete(id);
    }
    specs.forEach((spec, index) => {
      if (!this.charts.has(spec.id)) this.charts.set(spec.id, new Chart(spec));
      const chart = this.charts.get(spec.id);
      if (this.board.children[index] !== chart.element) this.board.insertBefore(chart.element, this.board.children[index] ?? null);
      chart.update(spec, times);
    });
  }

  close() {
    this.asked = null;
    this.colours.removeEventListener("change", this.repaint);
    this.charts.forEach((chart) => chart.close());
  }
}

const hoursAgo = (hours) => new Date(Date.now() - hours * 3600e3).toISOString();
