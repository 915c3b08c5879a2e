// The operator's console: what the fleet does and did, and what an administrator does about it.

import { KeyChanged } from "../api.js";
import { byId, h, setText } from "../dom.js";
import { findAccess } from "./access.js";
import { describePause } from "./acts.js";
import { AuditLog } from "./audit.js";
import { Fleet } from "./fleet.js";
import { AllJobs } from "./jobs.js";
import { Overview } from "./overview.js";
import { Owners } from "./owners.js";
import { listPauses } from "./requests.js";
import { Timeline } from "./timeline.js";

const VIEWS = { overview: Overview, fleet: Fleet, owners: Owners, jobs: AllJobs, audit: AuditLog };
const TITLES = { overview: "Console", fleet: "Fleet", owners: "Owners", jobs: "Jobs of all owners", audit: "Audit log" };

export class ConsolePage {
  // `name` is a view or the id of a job, and `query` what the view begins with.
  async open(name, query) {
    this.close();
    const asked = (this.asked = Symbol());
    const access = await findAccess();
    if (asked !== this.asked) return;
    if (!access.sees) {
      setText(byId("console-trouble"), "The console needs a key with the scope operator or admin.");
      return;
    }
    this.steers = access.steers;
    const view = (this.view = Object.hasOwn(VIEWS, name) ? new VIEWS[name](this, query) : new Timeline(this, name));
    setText(byId("console-title"), TITLES[name] ?? "A job");
    for (const link of byId("console-nav").children) {
      const isHere = link.hash === (name === "overview" ? "#console" : `#console=${name}`);
      if (isHere) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    byId("console-view").replaceChildren(view.element);
    setText(byId("console-note"), access.steers ? "" : "This key sees everything here, and changes nothing.");
    byId("console-title").focus();
    await this.refresh();
    await view.opened?.();
  }

  close() {
    this.view?.close?.();
    this.view = this.asked = null;
    this.pauses = [];
    byId("console-view").replaceChildren();
    for (const id of ["console-trouble", "console-note"]) setText(byId(id), "");
    byId("console-paused").hidden = true;
  }

  async refresh() {
    const { view } = this;
    if (!view) return;
    const pauses = (await listPauses()).data;
    if (view !== this.view) return;
    this.pauses = pauses;
    this.showPauses();
    await view.refresh();
  }

  showPauses() {
    const lines = this.pauses.map((each) => `${each.kind === "key" ? "owner" : each.kind} ${each.name}: ${describePause(each)}`);
    const list = byId("console-paused");
    if (lines.join() !== [...list.children].map(({ textContent }) => textContent).join()) {
      list.replaceChildren(...lines.map((line) => h("li", {}, line)));
    }
    list.hidden = !lines.length;
  }

  // Does something and says so, or says why it was refused. Returns the answer; undefined for a refusal.
  async run(done, act) {
    const { view } = this;
    setText(byId("console-trouble"), "");
    setText(byId("console-note"), "");
    try {
      const answer = await act();
      if (view !== this.view) return undefined;
      setText(byId("console-note"), `${done[0].toUpperCase()}${done.slice(1)}.`);
      await this.refresh();
      return answer ?? null;
    } catch (problem) {
      this.fail(problem);
      return undefined;
    }
  }

  fail(problem) {
    if (!(problem instanceof KeyChanged)) setText(byId("console-trouble"), problem.message);
  }

  fallback() {
    return byId("console-title");
  }
}

