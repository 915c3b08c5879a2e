// What the charts show of the statistics. Pure.

import { bytes, seconds } from "../dom.js";

export const WINDOWS = [
  { name: "Last hour", hours: 1, step: "minute" },
  { name: "Last 6 hours", hours: 6, step: "minute" },
  { name: "Last day", hours: 24, step: "hour" },
  { name: "Last 7 days", hours: 7 * 24, step: "hour" },
  { name: "Last 30 days", hours: 30 * 24, step: "hour" },
  { name: "Last 90 days", hours: 90 * 24, step: "day" },
];

const STEP_S = { minute: 60, hour: 3600, day: 86400 };
const MOST_CODES = 5;

const whole = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
const percent = (value) => `${Math.round(value)} %`;

// The start of each period, in seconds since 1970. The API leaves out the periods in which nothing happened.
export function gridOf(start, end, step) {
  const length = STEP_S[step];
  const first = Math.floor(Date.parse(start) / 1000 / length) * length;
  const count = Math.max(1, Math.ceil((Date.parse(end) / 1000 - first) / length));
  return Array.from({ length: count }, (_, index) => first + index * length);
}

// Each chart: { id, title, format, lines: [{ label, colour, dash, values }] }. A value is null where nothing is known.
export function chartsOf(series, times, by) {
  const points = new Map((series?.points ?? []).map((point) => [Date.parse(point.at) / 1000, point]));
  const column = (read, absent) => times.map((time) => (points.has(time) ? read(points.get(time)) ?? absent : absent));
  const count = (label, colour, read) => ({ label, colour, values: column(read, 0) });
  const known = (label, colour, read, dash) => ({ label, colour, dash, values: column(read, null) });
  const spread = (read, scale = 1) => [
    known("p50", "running", (point) => scaled(read(point)?.p50, scale)),
    known("p95", "accent", (point) => scaled(read(point)?.p95, scale), [6, 4]),
  ];
  const charts = [
    { id: "throughput", isCounted: true, ...throughput(by, count) },
    { id: "waits", title: "Wait for a worker", format: seconds, lines: spread((point) => point.wait_s) },
    { id: "took", title: "Time of an attempt", format: seconds, lines: spread((point) => point.took_s) },
    { id: "failures", title: "Failures by code", isCounted: true, format: whole, lines: failures(series, by, count) },
    {
      id: "utilisation",
      title: "Slots in use",
      format: percent,
      lines: [known("utilisation", "running", (point) => scaled(point.utilisation, 100))],
    },
    {
      id: "backlog",
      title: "Tasks that wait",
      format: whole,
      lines: [
        known("mean", "running", (point) => point.waiting_mean),
        known("most", "accent", (point) => point.waiting_max, [6, 4]),
      ],
    },
    {
      id: "memory",
      title: "Device memory in use, at most",
      format: percent,
      lines: [known("share", "running", (point) => scaled(point.memory_share_max, 100))],
    },
    { id: "clip-memory", title: "Peak memory of a clip", format: bytes, lines: spread((point) => point.memory_bytes) },
  ];
  return charts.filter(({ id }) => !isUnknown(id, by));
}

// Of a model there are no samples of queues.
const isUnknown = (id, by) => by === "model" && ["utilisation", "backlog", "memory"].includes(id);

const scaled = (value, scale) => (value == null ? null : value * scale);

// Jobs use several queues, so a queue has attempts alone.
function throughput(by, count) {
  if (by === "queue") {
    const ended = (label, colour, ...states) =>
      count(label, colour, ({ attempts }) => states.reduce((sum, state) => sum + (attempts[state] ?? 0), 0));
    const lines = [ended("succeeded", "succeeded", "succeeded"), ended("failed", "failed", "failed", "crashed")];
    return { title: "Attempts that ended", format: whole, lines };
  }
  const ended = (label, colour, ...states) =>
    count(label, colour, ({ jobs }) => states.reduce((sum, state) => sum + (jobs[state] ?? 0), 0));
  const lines = [
    count("submitted", "running", (point) => point.submitted),
    ended("succeeded", "succeeded", "succeeded"),
    ended("failed or expired", "failed", "failed", "expired"),
    ended("canceled", "dim", "canceled"),
  ];
  return { title: "Jobs", format: whole, lines };
}

function failures(series, by, count) {
  const field = by === "queue" ? "attempt_codes" : "job_codes";
  const codes = Object.entries(series?.total[field] ?? {}).sort((a, b) => b[1] - a[1]).map(([code]) => code);
  const colours = ["failed", "accent", "queued", "running", "succeeded"];
  const lines = codes.slice(0, MOST_CODES).map((code, index) => count(code, colours[index], (point) => point[field][code] ?? 0));
  const others = codes.slice(MOST_CODES);
  const sum = (point) => others.reduce((total, code) => total + (point[field][code] ?? 0), 0);
  return others.length ? [...lines, count("other codes", "dim", sum)] : lines;
}

// The latest value of a line and its largest; null for a line without values.
export function summaryOf({ values }) {
  const known = values.filter((value) => value != null);
  return known.length ? { latest: known.at(-1), most: Math.max(...known) } : null;
}

// The figures of the whole window that are read first.
export function tilesOf(series, by) {
  const total = series?.total;
  if (!total) return [];
  const ended = by === "queue" ? total.attempts : total.jobs;
  const all = Object.values(ended).reduce((sum, number) => sum + number, 0);
  const bad = (ended.failed ?? 0) + (ended.expired ?? 0) + (ended.crashed ?? 0);
  return [
    [by === "queue" ? "attempts ended" : "jobs ended", String(all)],
    ["failed", all ? `${((100 * bad) / all).toFixed(1)} %` : "none"],
    ["wait p95", total.wait_s ? seconds(total.wait_s.p95) : "none"],
    ["slots in use", total.utilisation == null ? "not sampled" : percent(100 * total.utilisation)],
    ["device time", seconds(total.device_s)],
  ];
}
