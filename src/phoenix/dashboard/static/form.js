// The form for a new reel: choices follow the model, and every fault of a refusal is shown.

import { request, submitReel, upload } from "./api.js";
import { byId, h, isBusy, setBusy, setText } from "./dom.js";

export class ReelForm {
  constructor(onSubmitted) {
    this.models = [];
    this.onSubmitted = onSubmitted;
    byId("model").addEventListener("change", () => this.showModel());
    byId("new").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  async refresh() {
    const { data } = await request("/v1/models");
    const wasEmpty = !this.models.length;
    this.models = data;
    if (wasEmpty) {
      byId("model").replaceChildren(...data.map((model) => h("option", { value: model.id }, model.title)));
      const served = data.find((model) => model.is_served) ?? data[0];
      if (served) byId("model").value = served.id;
      this.showModel();
    }
    this.showNote();
  }

  get model() {
    return this.models.find((model) => model.id === byId("model").value);
  }

  showModel() {
    const model = this.model;
    if (!model) return;
    fill("aspect", model.aspect_ratios, model.default_aspect_ratio);
    fill("resolution", model.resolutions, model.default_resolution);
    const duration = byId("duration");
    duration.min = model.duration_s.minimum;
    duration.max = model.duration_s.maximum;
    duration.value = model.duration_s.default;
    byId("image-row").hidden = !model.takes_image;
    this.showNote();
  }

  showNote() {
    const model = this.model;
    if (model) setText(byId("model-note"), model.is_served ? model.description : "No worker serves it now: jobs wait.");
  }

  async submit() {
    const button = byId("new").querySelector("button[type=submit]");
    if (isBusy(button)) return;
    setBusy(button, true);
    byId("new-problem").replaceChildren();
    try {
      const reel = this.read();
      const [file] = byId("audio").files;
      if (file) reel.soundtrack = { artifact_id: (await upload(file)).id };
      const [picture] = this.model?.takes_image ? byId("image").files : [];
      if (picture) {
        const { id } = await upload(picture);
        for (const clip of reel.clips) clip.image_artifact_id = id;
      }
      this.onSubmitted(await submitReel(reel));
      byId("prompts").value = "";
      byId("audio").value = "";
      byId("image").value = "";
    } catch (problem) {
      this.explain(problem);
    } finally {
      setBusy(button, false);
    }
  }

  read() {
    const lines = byId("prompts").value.split("\n").map((line) => line.trim());
    const crossfade = Number(byId("crossfade").value);
    return {
      model: this.model?.id,
      clips: lines.filter(Boolean).map((prompt) => ({ prompt })),
      duration_s: Number(byId("duration").value) || undefined,
      aspect_ratio: byId("aspect").value || undefined,
      resolution: byId("resolution").value || undefined,
      transition: crossfade ? { kind: "crossfade", duration_s: crossfade } : undefined,
    };
  }

  explain(problem) {
    const errors = (problem.fieldErrors ?? []).map(({ pointer, detail }) => h("li", {}, h("code", {}, pointer), ` ${detail}`));
    byId("new-problem").replaceChildren(h("p", {}, problem.message), ...(errors.length ? [h("ul", {}, ...errors)] : []));
  }
}

function fill(id, values, chosen) {
  const kept = byId(id).value;
  byId(id).replaceChildren(...values.map((value) => h("option", {}, value)));
  byId(id).value = values.includes(kept) ? kept : chosen;
}
