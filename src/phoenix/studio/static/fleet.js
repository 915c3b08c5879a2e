// Queues and workers.

import { request } from "./api.js";
import { byId, bytes, h, seconds } from "./dom.js";

export async function refreshFleet() {
  const [queue, workers] = await Promise.all([request("/v1/queue"), request("/v1/workers")]);
  byId("queues").replaceChildren(...queue.queues.filter(isInUse).map(queueView));
  const list = workers.data.map(workerView);
  byId("workers").replaceChildren(...(list.length ? list : [h("li", { class: "note" }, "No worker is running.")]));
}

export function clearFleet() {
  byId("queues").replaceChildren();
  byId("workers").replaceChildren();
}

// Most servers have no remote model.
function isInUse(queue) {
  return queue.name !== "remote" || queue.slots > 0 || queue.waiting > 0;
}

function queueView(queue) {
  const wait = queue.oldest_wait_s == null ? "" : `, the oldest for ${seconds(queue.oldest_wait_s)}`;
  return h(
    "div",
    {},
    h("dt", {}, queue.name),
    h(
      "dd",
      {},
      h("meter", { min: 0, max: Math.max(queue.slots, 1), value: queue.running, "aria-label": `${queue.name} slots in use` }),
      h("span", {}, `${queue.running} of ${queue.slots} slots busy`),
      queue.finishing ? h("span", { class: "note" }, `${queue.finishing} finishing`) : null,
      h("span", { class: "note" }, `${queue.waiting} waiting${wait}`),
    ),
  );
}

function named(what, ids) {
  return ids.length ? `${what} ${ids.map((id) => id.slice(-6)).join(", ")}` : "";
}

function workerView(worker) {
  const memory =
    worker.memory_total_bytes &&
    h("meter", {
      min: 0,
      max: worker.memory_total_bytes,
      high: worker.memory_total_bytes * 0.9,
      value: worker.memory_used_bytes,
      "aria-label": "Memory in use",
    });
  const used = worker.memory_total_bytes && `${bytes(worker.memory_used_bytes)} of ${bytes(worker.memory_total_bytes)}`;
  const tasks = [named("runs", worker.running), named("finishes", worker.finishing)].filter(Boolean);
  return h(
    "li",
    { class: tasks.length ? "busy" : "" },
    h("strong", {}, worker.device),
    h("span", { class: "tag" }, `${worker.queues.join(" + ")} queue`),
    h("span", {}, tasks.join("; ") || worker.state),
    worker.models.length ? h("span", { class: "note" }, worker.models.join(", ")) : null,
    memory || null,
    used ? h("span", { class: "note" }, used) : null,
    worker.host ? h("span", { class: "note" }, `${worker.host}, process ${worker.pid}`) : null,
  );
}
