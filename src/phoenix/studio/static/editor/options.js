// What holds for all clips of a version: its title, model, tier, crossfade and soundtrack.

import { byId, h } from "../dom.js";
import { fill as fillUploads } from "../form/uploads.js";

export class ReelOptions {
  constructor(changed) {
    this.models = [];
    byId("edit-options").addEventListener("input", () => {
      this.fillTiers(byId("edit-quality").value);
      changed();
    });
  }

  get model() {
    return this.models.find((model) => model.id === byId("edit-model").value);
  }

  show(draft, models, job) {
    this.models = models;
    byId("edit-title").value = draft.title;
    const ids = models.map((model) => model.id);
    // The model of an old job may be gone.
    const gone = ids.includes(draft.model) ? [] : [h("option", { value: draft.model }, draft.model)];
    byId("edit-model").replaceChildren(...gone, ...models.map((model) => h("option", { value: model.id }, model.title)));
    byId("edit-model").value = draft.model;
    this.fillTiers(draft.quality);
    byId("edit-crossfade").value = draft.crossfade_s || "";
    byId("edit-captions").value = draft.captions;
    byId("edit-voice").value = draft.voice;
    byId("edit-fit").checked = draft.fit_narration;
    byId("edit-drop").checked = false;
    byId("edit-drop-row").hidden = !job.request.soundtrack;
    byId("edit-audio").value = byId("edit-audio-kept").value = "";
    fillUploads(byId("edit-audio-kept"), "audio").then(() => {
      byId("edit-audio-kept-row").hidden = byId("edit-audio-kept").hidden;
    });
  }

  fillTiers(chosen) {
    const tiers = this.model?.tiers.map(({ quality }) => quality) ?? [chosen];
    byId("edit-quality").replaceChildren(...tiers.map((quality) => h("option", {}, quality)));
    byId("edit-quality").value = tiers.includes(chosen) ? chosen : "standard";
  }

  read() {
    const otherwise = byId("edit-audio-kept").value || (byId("edit-drop").checked ? "none" : "keep");
    return {
      title: byId("edit-title").value.trim(),
      model: byId("edit-model").value,
      quality: byId("edit-quality").value,
      captions: byId("edit-captions").value,
      voice: byId("edit-voice").value.trim(),
      fit_narration: byId("edit-fit").checked,
      crossfade_s: Number(byId("edit-crossfade").value) || 0,
      // The file is uploaded when the version is made.
      soundtrack: byId("edit-audio").files.length ? "file" : otherwise,
    };
  }
}
