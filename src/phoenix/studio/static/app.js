// Starts the page: what is refreshed when, and what is said when the server cannot be reached.

import { apiKey, KeyChanged, setApiKey } from "./api.js";
import { byId, setText } from "./dom.js";
import { findAccess, forgetAccess } from "./console/access.js";
import { clearFleet, refreshFleet } from "./fleet.js";
import { ReelForm } from "./form/form.js";
import { Comparison } from "./editor/compare.js";
import { ReelPage } from "./editor/page.js";
import { JobList } from "./jobs.js";
import { Library } from "./library/page.js";
import { LipPanel } from "./lips/panel.js";
import { Search } from "./search/search.js";
import { StoryPanel } from "./story/panel.js";
import { TemplatePanel } from "./templates/panel.js";

const EVERY_MS = 2000;

const jobs = new JobList({ onProblem: showProblem, reuse: (job) => form.use(job) });
const form = new ReelForm((job) => {
  jobs.put(job);
  refresh();
});
const lips = new LipPanel((job) => {
  jobs.put(job);
  refresh();
});
const story = new StoryPanel(form);
const templates = new TemplatePanel(form);
const search = new Search({ jobs, failed: showProblem });
const reelPage = new ReelPage({
  jobs,
  reuse: async (job) => {
    location.hash = "";
    await showPlace();
    form.use(job);
  },
  models: () => form.models,
  onSubmitted: (job) => {
    jobs.put(job);
    location.hash = `#job=${job.id}`;
  },
  failed: showProblem,
});
const library = new Library({
  model: () => form.model,
  use: async (artifact, role) => {
    location.hash = "";
    await showPlace();
    form.useFile(artifact, role);
  },
  failed: showProblem,
});
const comparison = new Comparison(showProblem);
// Loaded by whoever may see it, when it is opened first.
let consolePage = null;
let timer = 0;
let shownPlace = "";
let hasAskedForKey = false;

async function refresh() {
  clearTimeout(timer);
  try {
    await Promise.all([jobs.refresh(), refreshFleet(), form.refresh()]);
    search.refresh();
    await reelPage.refresh();
    await story.recall();
    byId("console-open").hidden = !(await findAccess()).sees;
    await consolePage?.refresh();
    showConnection("live", "live");
  } catch (problem) {
    showProblem(problem);
  }
  // A page that nobody looks at asks for nothing.
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

function showProblem(problem) {
  if (problem instanceof KeyChanged) return;
  if (problem.status === 401) {
    clear();
    showConnection("away", apiKey() ? "this API key is not valid" : "an API key is needed");
    // Once: whoever closes it wants to do something else first.
    if (!hasAskedForKey && !apiKey()) openKeyDialog();
  } else if (problem.status) {
    showConnection("away", problem.message);
  } else {
    showConnection("away", "the server does not answer");
  }
}

async function openConsole(view, query) {
  const { ConsolePage } = await import("./console/page.js");
  consolePage ??= new ConsolePage();
  // Somebody may have gone elsewhere meanwhile.
  if (!byId("console-page").hidden) await consolePage.open(view, query);
}

// The list of jobs, or another place: the address says which, so that a reload shows it again.
async function showPlace() {
  if (shownPlace === location.hash) return;
  shownPlace = location.hash;
  const [, place, ids, query] = /^#(job|compare|library|console)(?:=([\w,]+))?(?:\?(.*))?$/.exec(location.hash) ?? [];
  const pages = { job: byId("reel-page"), compare: byId("compare-page"), library: byId("library-page"), console: byId("console-page") };
  byId("home").hidden = Boolean(place);
  for (const [name, page] of Object.entries(pages)) page.hidden = name !== place;
  reelPage.close();
  comparison.close();
  library.close();
  consolePage?.close();
  try {
    if (place === "job") await reelPage.open(ids);
    if (place === "library") await library.open();
    if (place === "console") await openConsole(ids ?? "overview", query && decodeURIComponent(query));
    if (place === "compare") await comparison.open(...ids.split(","));
  } catch (problem) {
    showProblem(problem);
  }
}

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  setText(byId("connection"), text);
}

function clear() {
  jobs.clear();
  search.close();
  clearFleet();
  reelPage.close();
  comparison.close();
  library.close();
  consolePage?.close();
  forgetAccess();
  byId("console-open").hidden = true;
  shownPlace = "";
}

function openKeyDialog() {
  hasAskedForKey = true;
  if (byId("key-dialog").open) return;
  byId("key").value = apiKey();
  byId("key-dialog").showModal();
}

byId("key-open").addEventListener("click", openKeyDialog);
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-form").addEventListener("submit", () => {
  const before = apiKey();
  setApiKey(byId("key").value.trim());
  clear();
  // What somebody wrote before they were asked for a key stays.
  if (before && before !== apiKey()) {
    form.forget();
    lips.clear();
    story.clear();
  }
  templates.show();
  refresh().then(showPlace);
});
window.addEventListener("hashchange", showPlace);
// A browser would open a file that is dropped beside its place, and leave the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => {
    if (event.dataTransfer?.types.includes("Files") && event.target.type !== "file") event.preventDefault();
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) jobs.stop();
  else refresh();
});
refresh().then(showPlace);
