// Starts the page: what is refreshed when, and what is said when the server cannot be reached.

import { apiKey, KeyChanged, setApiKey } from "./api.js";
import { byId, setText } from "./dom.js";
import { clearFleet, refreshFleet } from "./fleet.js";
import { ReelForm } from "./form.js";
import { JobList } from "./jobs.js";

const EVERY_MS = 2000;

const jobs = new JobList(showProblem);
const form = new ReelForm((job) => {
  jobs.put(job);
  refresh();
});
let timer = 0;
let hasAskedForKey = false;

async function refresh() {
  clearTimeout(timer);
  try {
    await Promise.all([jobs.refresh(), refreshFleet(), form.refresh()]);
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

function showConnection(state, text) {
  byId("connection").dataset.state = state;
  setText(byId("connection"), text);
}

function clear() {
  jobs.clear();
  clearFleet();
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
  setApiKey(byId("key").value.trim());
  clear();
  refresh();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) jobs.stop();
  else refresh();
});
refresh();
