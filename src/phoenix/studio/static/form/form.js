// The form for a new reel: choices follow the model, and every fault of a refusal is shown.

import { deleteArtifact, request, submitReel, upload } from "../api.js";
import { byId, h, isBusy, setBusy, setText } from "../dom.js";
import { explain } from "../problems.js";
import { settingsOf } from "./again.js";
import { NewClips } from "./clips.js";
import { ConditionFields } from "./conditions.js";
import { EstimateLine } from "./estimate.js";
import { forget, remember, remembered, restore, valuesOfForm } from "./memory.js";
import { describePlan, planOf } from "./plan.js";
import { chosenPostprocessors, listenToPostprocessors, showPostprocessors } from "./postprocessors.js";
import { asCurl, asJavaScript, asPython } from "./snippets.js";
import { chooseAdapters, chosenAdapters, chosenTier, showTiers } from "./tiers.js";
import { fill as fillUploads, forgetUploaded, forgetUploads } from "./uploads.js";

const LANGUAGES = { curl: asCurl, python: asPython, javascript: asJavaScript };

export class ReelForm {
  constructor(onSubmitted) {
    this.models = [];
    this.conditions = new ConditionFields();
    this.estimate = new EstimateLine();
    this.onSubmitted = onSubmitted;
    this.clips = new NewClips(() => this.changed());
    byId("model").addEventListener("change", () => this.showModel());
    listenToPostprocessors();
    byId("new").addEventListener("input", () => this.changed());
    byId("new").addEventListener("change", () => this.changed());
    byId("code").addEventListener("toggle", () => this.showCode());
    byId("code-language").addEventListener("change", () => this.showCode());
    byId("code-copy").addEventListener("click", () => this.copyCode());
    byId("new").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
  }

  async refresh() {
    const needsUploads = !this.models.length;
    const [list] = await Promise.all([request("/v1/models"), needsUploads && fillUploads(byId("audio-kept"), "audio")]);
    const { data } = list;
    const isFirst = !this.models.length;
    this.models = data;
    // At once: what is written meanwhile would be replaced by what is recalled.
    if (isFirst) {
      byId("model").replaceChildren(...data.map((model) => h("option", { value: model.id }, model.title)));
      const served = data.find((model) => model.is_served) ?? data[0];
      if (served) byId("model").value = served.id;
      this.showModel();
      showPostprocessors(list);
      this.recall();
    }
    this.showNote();
    this.estimate.refresh();
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
    for (const [id, range] of [["steps", model.steps], ["guidance", model.guidance_scale]]) setLimits(id, range);
    byId("clip-sound-row").hidden = !model.makes_sound;
    this.clips.setModel(model);
    this.conditions.show(model);
    showTiers(model);
    this.showNote();
    this.changed();
  }

  showNote() {
    const model = this.model;
    if (model) setText(byId("model-note"), model.is_served ? model.description : "No worker serves it now: jobs wait.");
  }

  // A tier has its own steps and guidance, which count unless something is written there.
  changed() {
    const { model } = this;
    if (!model) return;
    const tier = model.tiers.find(({ quality }) => quality === (chosenTier() ?? "standard"));
    byId("steps").placeholder = tier?.steps ?? model.steps.default;
    byId("guidance").placeholder = tier?.guidance_scale ?? model.guidance_scale.default;
    const reel = this.read();
    setText(byId("plan"), describePlan(planOf(reel, model)));
    this.estimate.follow(reel, this.conditions.hasFiles || byId("audio").files.length > 0);
    this.showCode();
    if (this.isRecalled) remember(this.clips.read());
  }

  // What was there before a reload.
  recall() {
    this.isRecalled = true;
    const before = remembered();
    if (before) this.fillIn(before.values, before.clips);
    else this.changed();
  }

  fillIn(values, clips, loras = []) {
    restore({ model: values.model });
    this.showModel();
    restore(values);
    for (const id of ["upscale", "interpolate"]) byId(id).dispatchEvent(new Event("change"));
    restore(values);
    chooseAdapters(loras);
    this.clips.set(clips?.length ? clips : [{ prompt: "" }]);
    this.clips.setModel(this.model);
    this.changed();
  }

  // The settings of a job, as they are. They can be changed before they are submitted.
  use(job) {
    const { fields, clips, loras } = settingsOf(job, this.models);
    this.fillInstead(fields, clips, loras);
  }

  useTemplate({ values, clips, loras }) {
    this.fillInstead(values, clips, loras);
  }

  asTemplate() {
    return { values: valuesOfForm(), clips: this.clips.read(), loras: chosenAdapters() ?? [] };
  }

  // What the new settings do not mention is as in an empty form.
  fillInstead(values, clips, loras) {
    for (const id of ["title", "seed", "negative", "steps", "guidance", "crossfade"]) byId(id).value = "";
    this.fillIn(values, clips, loras);
    this.clips.views()[0].fields.prompt.focus();
  }

  // A stored file guides the first clip with room for it, or becomes the soundtrack.
  useFile(artifact, role) {
    if (role) return this.clips.guide(artifact, role);
    const { id, filename } = artifact;
    const choice = byId("audio-kept");
    if (![...choice.options].some(({ value }) => value === id)) choice.append(h("option", { value: id }, filename ?? id));
    choice.hidden = false;
    choice.value = id;
    choice.focus();
    this.changed();
  }

  forget() {
    forget();
    forgetUploads();
    forgetUploaded();
    this.clear();
    fillUploads(byId("audio-kept"), "audio");
  }

  clear() {
    this.clips.set([{ prompt: "" }]);
    for (const id of ["title", "audio", "audio-kept"]) byId(id).value = "";
    this.conditions.clear();
    this.changed();
  }

  async submit() {
    const button = byId("new").querySelector("button[type=submit]");
    if (isBusy(button)) return;
    setBusy(button, true);
    byId("new-problem").replaceChildren();
    this.estimate.stop();
    const uploaded = [];
    try {
      await this.clips.settled();
      const reel = this.read();
      const [file] = byId("audio").files;
      if (file) uploaded.push((await upload(file)).id);
      if (file) reel.soundtrack = { artifact_id: uploaded[0] };
      await this.conditions.addTo(reel.clips, uploaded);
      this.onSubmitted(await submitReel(reel));
      this.clear();
      if (uploaded.length) this.offerUploads();
    } catch (problem) {
      explain(byId("new-problem"), problem);
      // A refused reel leaves no uploads behind. Without an answer, the server may have accepted it.
      if (problem.status) await Promise.allSettled(uploaded.map(deleteArtifact));
    } finally {
      setBusy(button, false);
    }
  }

  offerUploads() {
    forgetUploads();
    fillUploads(byId("audio-kept"), "audio");
    this.conditions.offerUploads();
  }

  // The request as it stands, without the files that are not uploaded yet.
  read() {
    const crossfade = numberIn("crossfade");
    const kept = byId("audio-kept").value;
    const reel = {
      title: byId("title").value.trim() || undefined,
      model: this.model?.id,
      clips: this.clips.read().filter(({ prompt }) => prompt),
      duration_s: numberIn("duration"),
      aspect_ratio: byId("aspect").value || undefined,
      resolution: byId("resolution").value || undefined,
      quality: chosenTier(),
      negative_prompt: byId("negative").value.trim() || undefined,
      steps: numberIn("steps"),
      guidance_scale: numberIn("guidance"),
      seed: numberIn("seed"),
      clip_sound: !byId("clip-sound-row").hidden && byId("clip-sound").value === "drop" ? "drop" : undefined,
      loras: chosenAdapters(),
      hold: byId("hold").checked ? "draft" : undefined,
      ...chosenPostprocessors(),
      transition: crossfade ? { kind: "crossfade", duration_s: crossfade } : undefined,
      soundtrack: kept ? { artifact_id: kept } : undefined,
    };
    if (reel.clips.some(({ caption, narration }) => caption || narration) && byId("captions").value !== "track") {
      reel.captions = byId("captions").value;
    }
    if (reel.clips.some(({ narration }) => narration)) {
      reel.voice = byId("voice").value.trim() || undefined;
      reel.fit_narration = byId("fit-narration").checked || undefined;
    }
    this.conditions.addKept(reel.clips);
    return reel;
  }

  showCode() {
    if (!byId("code").open) return;
    setText(byId("code-text"), LANGUAGES[byId("code-language").value](this.read(), location.origin));
  }

  // A page that came over plain HTTP has no clipboard: the text is selected instead.
  async copyCode() {
    try {
      await navigator.clipboard.writeText(byId("code-text").textContent);
      setText(byId("news"), "Copied");
    } catch {
      getSelection().selectAllChildren(byId("code-text"));
    }
  }
}

function setLimits(id, { minimum, maximum }) {
  Object.assign(byId(id), { min: minimum, max: maximum });
  byId(`${id}-row`).hidden = minimum === maximum;
}

function numberIn(id) {
  const { value } = byId(id);
  return value === "" || byId(`${id}-row`)?.hidden ? undefined : Number(value);
}

function fill(id, values, chosen) {
  const kept = byId(id).value;
  byId(id).replaceChildren(...values.map((value) => h("option", {}, value)));
  byId(id).value = values.includes(kept) ? kept : chosen;
}
