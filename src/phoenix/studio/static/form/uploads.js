// The caller's uploads, to be used again.

import { listArtifacts, upload } from "../api.js";
import { h } from "../dom.js";

const MOST = 100;
const lists = new Map();
const uploaded = new Map();

// The upload of a file. The same file is not sent again while the page is open.
export function uploadOnce(file) {
  const name = [file.name, file.size, file.lastModified, file.type].join("/");
  if (!uploaded.has(name)) {
    const work = upload(file);
    uploaded.set(name, work);
    work.then(() => lists.clear(), () => uploaded.delete(name));
  }
  return uploaded.get(name);
}

// A choice among the uploads of one kind of media. It is filled when it is first looked at.
export function uploadChoice(id, media, label) {
  const choice = h("select", { id, "aria-label": `${label}, uploaded before` }, h("option", { value: "" }, "or one uploaded before"));
  fill(choice, media);
  return choice;
}

export async function fill(choice, media) {
  if (!lists.has(media)) lists.set(media, listArtifacts({ kind: "upload", media, limit: MOST }));
  const { data } = await lists.get(media).catch(() => (lists.delete(media), { data: [] }));
  const kept = choice.value;
  const options = data.map(({ id, filename }) => h("option", { value: id }, filename ?? id));
  choice.replaceChildren(choice.options[0], ...options);
  choice.value = data.some(({ id }) => id === kept) ? kept : "";
  choice.hidden = !data.length;
}

// After an upload, and for another key.
export function forgetUploads() {
  lists.clear();
}

// A file that was deleted, and all files of another key, would have to be sent again.
export function forgetUploaded() {
  uploaded.clear();
}
