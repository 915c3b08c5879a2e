// Starts the page: what is refreshed when, and what is said when the server cannot be reached.

import { apiKey, setApiKey } from "./api.js";
import { byId, setText } from "./dom.js";
import { refreshFleet } from "./fleet.js";
import { ReelForm } from "./form.js";
import { JobList } from "./jobs.js";

const EVERY_MS = 2000;

const jobs = new JobList(showProblem);
const form = new ReelForm((job) => {
  jobs.put(job);
  refresh();
});
let timer = 0;

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
  if (problem.status === 401) {
    showConnection("away", apiKey() ? "this API key is not valid" : "an API key is needed");
    if (!byId("key-dialog").open && !apiKey()) openKeyDialog();
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

function openKeyDialog() {
  byId("key").value = apiKey();
  byId("key-dialog").showModal();
}

byId("key-open").addEventListener("click", openKeyDialog);
byId("key-dialog").addEventListener("close", () => {
  if (byId("key-dialog").returnValue !== "save") return;
  setApiKey(byId("key").value.trim());
  jobs.stop();
  refresh();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) jobs.stop();
  else refresh();
});
refresh();
