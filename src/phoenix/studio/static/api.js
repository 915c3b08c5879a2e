// Requests to the public API, with the caller's key, and its problems as errors.

const KEY = "phoenix-api-key";

export class Problem extends Error {
  constructor(status, detail, fieldErrors = []) {
    super(detail);
    this.status = status;
    this.fieldErrors = fieldErrors;
  }
}

// The answer to a request with another key than the one that is used now. It is shown to nobody.
export class KeyChanged extends Problem {
  constructor() {
    super(0, "the API key was changed before the server answered");
  }
}

export const apiKey = () => sessionStorage.getItem(KEY) ?? "";
export const setApiKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

export function authorization() {
  return apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {};
}

export function request(path, { method = "GET", json, form, headers = {} } = {}) {
  const body = form ?? (json && JSON.stringify(json));
  const type = json && { "Content-Type": "application/json" };
  return ask(path, { method, body, headers: { ...type, ...headers } }, (response) =>
    response.status === 204 ? null : response.json(),
  );
}

async function ask(path, { headers, ...options }, read) {
  const key = apiKey();
  const response = await fetch(path, { ...options, headers: { ...authorization(), ...headers } });
  const answer = await (response.ok ? read(response) : problemOf(response));
  if (apiKey() !== key) throw new KeyChanged();
  if (answer instanceof Problem) throw answer;
  return answer;
}

export async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, body.detail ?? `the server answered ${response.status}`, body.errors);
}

export const listJobs = (params) => request(`/v1/jobs?${new URLSearchParams(params)}`);
export const cancelJob = (id) => request(`/v1/jobs/${id}/cancel`, { method: "POST" });
export const approveJob = (id) => request(`/v1/jobs/${id}/approve`, { method: "POST" });
export const changeJob = (id, json) => request(`/v1/jobs/${id}`, { method: "PATCH", json });
export const retryJob = (id) => request(`/v1/jobs/${id}/retry`, { method: "POST" });
export const deleteJob = (id) => request(`/v1/jobs/${id}`, { method: "DELETE" });

export const getJob = (id) => request(`/v1/jobs/${id}`);
export const submitReel = (reel) => submit("/v1/reels", reel);
export const submitLipsync = (lipsync) => submit("/v1/lipsyncs", lipsync);
export const editReel = (id, edit) => submit(`/v1/jobs/${id}/edits`, edit);

// Not randomUUID, which browsers keep from pages that came over plain HTTP.
export const newKey = () => [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");

const submit = (path, json) => request(path, { method: "POST", json, headers: { "Idempotency-Key": newKey() } });

export const estimateReel = (reel) => request("/v1/estimates", { method: "POST", json: reel });
export const listArtifacts = (params) => request(`/v1/artifacts?${new URLSearchParams(params)}`);
export const getArtifact = (id) => request(`/v1/artifacts/${id}`);
export const getStorage = () => request("/v1/storage");
export const deleteArtifact = (id) => request(`/v1/artifacts/${id}`, { method: "DELETE" });

export function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return request("/v1/uploads", { method: "POST", form });
}

// Where an element loads a file.
export async function artifactUrl(id) {
  if (!apiKey()) return `/v1/artifacts/${id}/content`;
  return here((await request(`/v1/artifacts/${id}?signed=true`)).signed_url);
}

// Where elements load the media of a job: they send no Authorization header, so with a key the URLs are signed.
export async function mediaUrls(job) {
  if (!apiKey()) return plainUrls(job);
  const urls = await request(`/v1/jobs/${job.id}/media-tokens`, { method: "POST" });
  const { content, thumbnail, playlist, captions, clips } = urls;
  return {
    content: here(content),
    thumbnail: here(thumbnail),
    playlist: here(playlist),
    captions: here(captions),
    clip: (index) => here(clips[index]),
    expiresAt: Date.parse(urls.expires_at),
  };
}

function plainUrls(job) {
  const root = `/v1/jobs/${job.id}`;
  return {
    content: `${root}/content`,
    thumbnail: `${root}/content?variant=thumbnail`,
    playlist: `${root}/playlist.m3u8`,
    captions: `${root}/content?variant=vtt`,
    clip: (index) => `${root}/clips/${index}/content`,
  };
}

// The server may know itself by another name than the browser does.
const here = (url) => url && new URL(url, location).href.replace(new URL(url, location).origin, "");
