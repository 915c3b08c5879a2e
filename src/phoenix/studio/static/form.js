// The form for a new reel: choices follow the model, and every fault of a refusal is shown.

import { deleteArtifact, request, submitReel, upload } from "./api.js";
import { ConditionFields } from "./conditions.js";
import { byId, h, isBusy, setBusy, setText } from "./dom.js";
import { explain } from "./problems.js";
import { chosenPostprocessors, listenToPostprocessors, showPostprocessors } from "./postprocessors.js";
import { chosenAdapters, chosenTier, showTiers } from "./tiers.js";

export class ReelForm {
  constructor(onSubmitted) {
    this.models = [];
    this.conditions = new ConditionFields();
    this.onSubmitted = onSubmitted;
    byId("model").addEventListener("change", () => this.showModel());
    listenToPostprocessors();
    byId("new").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  async refresh() {
    const list = await request("/v1/models");
    const { data } = list;
    const wasEmpty = !this.models.length;
    this.models = data;
    if (wasEmpty) {
      byId("model").replaceChildren(...data.map((model) => h("option", { value: model.id }, model.title)));
      const served = data.find((model) => model.is_served) ?? data[0];
      if (served) byId("model").value = served.id;
      this.showModel();
      showPostprocessors(list);
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
    this.conditions.show(model);
    showTiers(model);
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
    const uploaded = [];
    try {
      const reel = this.read();
      const [file] = byId("audio").files;
      if (file) uploaded.push((await upload(file)).id);
      if (file) reel.soundtrack = { artifact_id: uploaded[0] };
      await this.conditions.addTo(reel.clips, uploaded);
      this.onSubmitted(await submitReel(reel));
      byId("prompts").value = "";
      byId("audio").value = "";
      this.conditions.clear();
    } catch (problem) {
      explain(byId("new-problem"), problem);
      // A refused reel leaves no uploads behind. Without an answer, the server may have accepted it.
      if (problem.status) await Promise.allSettled(uploaded.map(deleteArtifact));
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
      quality: chosenTier(),
      loras: chosenAdapters(),
      ...chosenPostprocessors(),
      transition: crossfade ? { kind: "crossfade", duration_s: crossfade } : undefined,
    };
  }
}

function fill(id, values, chosen) {
  const kept = byId(id).value;
  byId(id).replaceChildren(...values.map((value) => h("option", {}, value)));
  byId(id).value = values.includes(kept) ? kept : chosen;
}
