// The audit log: who did what, when, to what, and how it ended.

import { h, hide, setText } from "../dom.js";
import { counted } from "../job.js";
import { listAudit } from "./requests.js";

const PAGE = 50;
const FIELDS = [
  ["actor", "Who acted"],
  ["action", "Action"],
  ["target", "On what"],
  ["owner", "Owner of it"],
];
const COLUMNS = ["When", "Who", "Action", "On what", "Owner", "Outcome", "Details"];

export class AuditLog {
  // `query`: the owner whose entries are shown first.
  constructor(desk, query = "") {
    this.desk = desk;
    const fields = FIELDS.map(([name, label]) => {
      const input = h("input", { id: `audit-${name}`, maxlength: 64, value: name === "owner" ? query : "" });
      return [name, input, h("label", {}, label, input)];
    });
    this.inputs = Object.fromEntries(fields.map(([name, input]) => [name, input]));
    this.form = h("form", { role: "search", "aria-label": "Audit log", class: "panel options" }, ...fields.map(([, , label]) => label), h("button", { type: "submit", class: "quiet" }, "Search"));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch((problem) => desk.fail(problem));
    });
    this.note = h("p", { class: "note", role: "status" });
    this.body = h("tbody", {});
    const head = h("thead", {}, h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name))));
    const region = h("div", { class: "scroller panel", tabindex: 0, role: "region", "aria-label": "Entries of the audit log" }, h("table", { class: "changes" }, head, this.body));
    this.more = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.load().catch((problem) => desk.fail(problem)) }, "Show more");
    this.element = h("div", { class: "console-part" }, this.form, this.note, region, this.more);
    this.read();
  }

  read() {
    const given = Object.entries(this.inputs).map(([name, input]) => [name, input.value.trim()]);
    this.query = Object.fromEntries(given.filter(([, value]) => value));
  }

  async begin() {
    this.read();
    this.isDeep = false;
    await this.refresh();
  }

  // The newest entries come by themselves, as long as no older ones were asked for.
  async refresh() {
    if (this.isDeep) return;
    const { query } = this;
    const page = await listAudit({ ...query, limit: PAGE });
    if (query !== this.query || this.newest === keyOf(query, page)) return;
    this.newest = keyOf(query, page);
    this.body.replaceChildren();
    this.append(page);
  }

  async load() {
    const { query, cursor } = this;
    this.isDeep = true;
    const page = await listAudit({ ...query, limit: PAGE, cursor });
    if (query === this.query) this.append(page);
  }

  append({ data, has_more: hasMore, next_cursor: cursor }) {
    this.cursor = cursor;
    this.body.append(...data.map(rowOf));
    const shown = this.body.children.length;
    setText(this.note, shown ? `${counted(shown, "act")}${hasMore ? " and more" : ""}` : "No act was found.");
    hide(this.more, !hasMore, () => this.inputs.actor);
  }
}

const keyOf = (query, { data }) => JSON.stringify([query, data[0]?.id, data.length]);

function rowOf(entry) {
  const who = [entry.actor ?? `${entry.account} on the server`, entry.address && `from ${entry.address}`].filter(Boolean).join(" ");
  const isJob = entry.target.startsWith("job_");
  const target = isJob ? h("a", { href: `#console=${entry.target}` }, entry.target) : entry.target;
  const details = Object.entries(entry.details).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const cells = [new Date(entry.at).toLocaleString(), who, entry.action, target, entry.owner ?? "", entry.outcome, details.join(", ")];
  return h("tr", { "data-outcome": entry.outcome }, ...cells.map((cell) => h("td", {}, cell)));
}
