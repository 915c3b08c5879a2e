// The dialog with earlier uploads, of which one is chosen.

import { artifactUrl, listArtifacts } from "../api.js";
import { byId, h, setText } from "../dom.js";

const MOST = 40;

// The chosen upload; null if none was chosen. `media` are the kinds of files that are of use.
export async function pickUpload(media, title) {
  const dialog = byId("picker");
  setText(byId("picker-title"), title);
  byId("picker-words").value = "";
  const picked = new Promise((resolve) => {
    let choice = null;
    const show = () => showUploads(media, (artifact) => ((choice = artifact), dialog.close()));
    byId("picker-form").onsubmit = (event) => {
      event.preventDefault();
      show();
    };
    dialog.onclose = () => resolve(choice);
    show();
  });
  dialog.showModal();
  return picked;
}

async function showUploads(media, choose) {
  const list = byId("picker-files");
  const words = byId("picker-words").value.trim();
  try {
    const pages = await Promise.all(media.map((each) => listArtifacts({ kind: "upload", media: each, limit: MOST, ...(words && { q: words }) })));
    const files = pages.flatMap(({ data }) => data).sort((a, b) => (a.id < b.id ? 1 : -1));
    list.replaceChildren(...files.map((artifact) => choice(artifact, choose)));
    setText(byId("picker-note"), files.length ? "" : "No such uploads yet.");
  } catch (problem) {
    setText(byId("picker-note"), problem.message);
  }
}

function choice(artifact, choose) {
  const thumb = h("span", { class: "thumb", "aria-hidden": "true" });
  if (artifact.info.media === "image") artifactUrl(artifact.id).then((url) => thumb.append(h("img", { src: url, alt: "", loading: "lazy" })), () => {});
  return h("li", {}, h("button", { type: "button", class: "quiet pick", onclick: () => choose(artifact) }, thumb, artifact.filename ?? artifact.id));
}
