// The form for a lip-sync: a face and a sound become a video whose mouth follows the sound.

import { deleteArtifact, request, submitLipsync, upload } from "../api.js";
import { byId, h, isBusy, setBusy, setText } from "../dom.js";
import { fill as fillUploads, forgetUploads } from "../form/uploads.js";
import { explain } from "../problems.js";
import { FaceBox } from "./box.js";

export class LipPanel {
  constructor(onSubmitted) {
    this.onSubmitted = onSubmitted;
    this.box = new FaceBox();
    byId("lips-box").replaceWith(this.box.element);
    byId("lips").addEventListener("toggle", () => byId("lips").open && this.open());
    byId("lips-face").addEventListener("change", () => this.showFace());
    byId("lips-new").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  async open() {
    fillUploads(byId("lips-sound-kept"), "audio");
    if (byId("lips-model").options.length) return;
    try {
      const { lip_models: models } = await request("/v1/models");
      byId("lips-model").replaceChildren(...models.map(({ id, title }) => h("option", { value: id }, title)));
    } catch (problem) {
      explain(byId("lips-problem"), problem);
    }
  }

  // The picture, or the first frame of the video, on which the face is marked.
  showFace() {
    URL.revokeObjectURL(this.url);
    this.box.setMedia(null);
    setText(byId("lips-note"), "");
    const [file] = byId("lips-face").files;
    if (!file) return;
    this.url = URL.createObjectURL(file);
    const isVideo = file.type.startsWith("video/");
    const shown = isVideo ? h("video", { muted: true, preload: "auto" }) : h("img", { alt: "The picture with the face" });
    const ready = () => {
      const size = isVideo ? [shown.videoWidth, shown.videoHeight] : [shown.naturalWidth, shown.naturalHeight];
      this.box.setMedia(shown, { width: size[0], height: size[1] });
      setText(byId("lips-note"), "Draw a box around the face, or write where it is.");
    };
    shown.addEventListener(isVideo ? "loadeddata" : "load", ready, { once: true });
    shown.addEventListener("error", () => setText(byId("lips-note"), "This browser cannot show the file: write where the face is."));
    shown.src = this.url;
  }

  async submit() {
    const button = byId("lips-submit");
    if (isBusy(button)) return;
    setBusy(button, true);
    byId("lips-problem").replaceChildren();
    const uploaded = [];
    const send = async (file) => {
      uploaded.push((await upload(file)).id);
      return uploaded.at(-1);
    };
    try {
      const [sound] = byId("lips-sound").files;
      const kept = byId("lips-sound-kept").value;
      if (!sound && !kept) throw new Error("Choose a sound.");
      const body = {
        video: await send(byId("lips-face").files[0]),
        audio: sound ? await send(sound) : kept,
        model: byId("lips-model").value || undefined,
        box: this.box.read() ?? undefined,
        when_shorter: byId("lips-shorter").value,
        sound: byId("lips-keep").checked ? "keep" : "replace",
      };
      this.onSubmitted(await submitLipsync(body));
      this.clear();
    } catch (problem) {
      explain(byId("lips-problem"), problem);
      // A refused job leaves no uploads behind. Without an answer, the server may have accepted it.
      if (problem.status) await Promise.allSettled(uploaded.map(deleteArtifact));
    } finally {
      setBusy(button, false);
    }
  }

  clear() {
    byId("lips-new").reset();
    this.showFace();
    forgetUploads();
    fillUploads(byId("lips-sound-kept"), "audio");
  }
}
