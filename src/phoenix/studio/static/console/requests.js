// The part of the public API for operators and administrators. Jobs are those of all keys, unless one is named.

import { request } from "../api.js";

const EVERYBODY = "owner=all";
const post = (path, json) => request(path, { method: "POST", json });
const named = (name) => encodeURIComponent(name);

export const getStats = (params) => request(`/v1/stats?${new URLSearchParams(params)}`);
export const getUsage = () => request(`/v1/usage?${EVERYBODY}`);
export const listModels = () => request("/v1/models");
export const listWorkers = () => request("/v1/workers");
export const getQueues = () => request("/v1/queue");
export const listNext = (queue, limit) => request(`/v1/queues/${queue}/jobs?limit=${limit}`);
export const listAudit = (params) => request(`/v1/audit?${new URLSearchParams(params)}`);

// `kind`: queue, model or key.
export const listPauses = () => request("/v1/pauses");
export const pause = (kind, name, reason) => post(`/v1/${kind}s/${named(name)}/pause`, reason ? { reason } : {});
export const resume = (kind, name) => post(`/v1/${kind}s/${named(name)}/resume`);

export const drain = (worker) => post(`/v1/workers/${named(worker)}/drain`);
export const resumeWorker = (worker) => post(`/v1/workers/${named(worker)}/resume`);
export const unload = (model, worker) => post(`/v1/models/${named(model)}/unload`, worker ? { worker_id: worker } : {});

export const listShares = () => request("/v1/shares");
export const setShare = (key, json) => request(`/v1/keys/${named(key)}/share`, { method: "PUT", json });
export const removeShare = (key) => request(`/v1/keys/${named(key)}/share`, { method: "DELETE" });

export const listJobs = (params) => request(`/v1/jobs?${new URLSearchParams(params)}`);
export const bulk = (json, owner) => post(`/v1/jobs/bulk?owner=${named(owner)}`, json);

const ofJob = (id, part = "") => `/v1/jobs/${id}${part}?${EVERYBODY}`;
export const getJob = (id) => request(ofJob(id));
export const listAttempts = (id) => request(ofJob(id, "/attempts"));
export const getLog = (id) => request(ofJob(id, "/logs"));
export const cancelJob = (id) => post(ofJob(id, "/cancel"));
export const retryJob = (id) => post(ofJob(id, "/retry"));
export const approveJob = (id) => post(ofJob(id, "/approve"));
export const changeJob = (id, json) => request(ofJob(id), { method: "PATCH", json });
export const deleteJob = (id) => request(ofJob(id), { method: "DELETE" });
