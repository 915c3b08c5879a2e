// The choice of what changes the frames after the model: an upscaler, an interpolator, and the frame rate.

import { byId, h, setText } from "../dom.js";

let upscalers = [];
let interpolators = [];

export function showPostprocessors(list) {
  upscalers = list.upscalers;
  interpolators = list.interpolators;
  offer("upscale", upscalers);
  offer("interpolate", interpolators);
  byId("upscale-row").hidden = !upscalers.length;
  byId("interpolate-row").hidden = !interpolators.length;
  showUpscaler();
  showInterpolator();
}

export function listenToPostprocessors() {
  byId("upscale").addEventListener("change", showUpscaler);
  byId("interpolate").addEventListener("change", showInterpolator);
}

// The fields of the request. A field that is left out has the default of its entry.
export function chosenPostprocessors() {
  const upscaler = chosen("upscale", upscalers);
  return {
    upscale: upscaler && { id: upscaler.id, scale: numberIn("scale") },
    interpolate: chosen("interpolate", interpolators)?.id,
    fps: numberIn("fps"),
  };
}

function offer(id, entries) {
  const kept = byId(id).value;
  const options = entries.map((entry) => h("option", { value: entry.id }, entry.title));
  byId(id).replaceChildren(h("option", { value: "" }, "none"), ...options);
  byId(id).value = entries.some((entry) => entry.id === kept) ? kept : "";
}

function showUpscaler() {
  const upscaler = chosen("upscale", upscalers);
  byId("scale").disabled = !upscaler;
  if (upscaler) Object.assign(byId("scale"), { max: upscaler.factor, placeholder: upscaler.factor });
  else byId("scale").value = "";
  setText(byId("upscale-note"), describe(upscaler));
}

function showInterpolator() {
  const interpolator = chosen("interpolate", interpolators);
  const factors = interpolator?.factors?.map((factor) => `${factor}`).join(", ");
  const rates = factors ? `Makes ${factors} times the frame rate of the model.` : "";
  setText(byId("interpolate-note"), [describe(interpolator), rates].filter(Boolean).join(" "));
  byId("fps").placeholder = interpolator ? "twice the model's" : "the model's";
}

const describe = (entry) => [entry?.description, entry?.license ? `License: ${entry.license.name}.` : ""].filter(Boolean).join(" ");
const chosen = (id, entries) => entries.find((entry) => entry.id === byId(id).value);

function numberIn(id) {
  const { value, disabled } = byId(id);
  return disabled || value === "" ? undefined : Number(value);
}
