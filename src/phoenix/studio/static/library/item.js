// One file of the library.

import { artifactUrl, deleteArtifact, mediaUrls } from "../api.js";
import { bytes, confirmed, h, seconds, setText } from "../dom.js";
import { usesOf } from "../guides/roles.js";

const KINDS = { upload: "upload", output: "result", clip: "clip", soundtrack: "soundtrack", thumbnail: "thumbnail", segments: "segments", captions: "captions", narration: "narration" };

export class LibraryItem {
  constructor(artifact, { model, use, deleted }) {
    this.artifact = artifact;
    this.name = artifact.filename ?? `${KINDS[artifact.kind] ?? artifact.kind} ${artifact.id.slice(-6)}`;
    this.title = h("h3", { tabindex: -1 }, this.name);
    this.media = h("div", { class: "clip-media" });
    this.refusal = h("p", { class: "trouble", role: "alert" });
    this.element = h(
      "li",
      { class: "clip-card file" },
      this.media,
      this.title,
      h("p", { class: "facts" }, factsOf(artifact)),
      this.refusal,
      h("div", { class: "actions" }, ...this.uses(model, use), ...this.others(deleted)),
    );
    this.show();
  }

  focus() {
    this.title.focus();
  }

  uses(model, use) {
    return usesOf(this.artifact, model).map(({ role, name }) =>
      h("button", { type: "button", class: "quiet small", "aria-label": `Use as ${name}: ${this.name}`, onclick: () => use(this.artifact, role) }, `Use as ${name}`),
    );
  }

  // A file of a job is deleted with its job.
  others(deleted) {
    const { id, job_id: job } = this.artifact;
    if (job) return [h("a", { class: "button secondary small", href: `#job=${job}`, "aria-label": `Open its job: ${this.name}` }, "Open its job")];
    const remove = confirmed("Delete", "Delete for good?", () => {
      setText(this.refusal, "");
      deleteArtifact(id).then(() => deleted(this), (problem) => setText(this.refusal, problem.message));
    });
    remove.classList.add("small");
    remove.setAttribute("aria-label", `Delete ${this.name}`);
    return [remove];
  }

  // Videos and sounds are loaded when somebody plays them.
  show() {
    const { id, kind, info, job_id: job } = this.artifact;
    const labelled = { "aria-label": this.name };
    const fail = () => this.media.replaceChildren();
    if (info.media === "image") {
      artifactUrl(id).then((url) => this.media.append(h("img", { src: url, alt: "", loading: "lazy" })), fail);
    } else if (info.media === "audio" || (info.media === "video" && kind !== "segments")) {
      const player = h(info.media, { ...labelled, controls: true, preload: "none" });
      this.media.append(player);
      artifactUrl(id).then((url) => (player.src = url), fail);
      if (kind === "output" && info.media === "video") mediaUrls({ id: job }).then(({ thumbnail }) => (player.poster = thumbnail ?? ""), () => {});
    }
  }
}

function factsOf({ kind, info, size_bytes: size, created_at: created, last_used_at: used }) {
  const parts = [
    KINDS[kind] ?? kind,
    info.format,
    info.width && `${info.width}×${info.height}`,
    info.duration_s != null && info.media !== "image" && seconds(info.duration_s),
    bytes(size),
    new Date(created).toLocaleDateString(),
    used && `last used ${new Date(used).toLocaleDateString()}`,
  ];
  return parts.filter(Boolean).join(" · ");
}
