// The choice of a tier and of adapters, for models that have several.

import { setRange } from "./conditions.js";
import { byId, h } from "../dom.js";

export function showTiers(model) {
  const qualities = model.tiers.map(({ quality }) => quality);
  const kept = byId("quality").value;
  byId("quality").replaceChildren(...qualities.map((quality) => h("option", {}, quality)));
  byId("quality").value = qualities.includes(kept) ? kept : "standard";
  byId("quality-row").hidden = qualities.length < 2;
  byId("adapters").replaceChildren(...model.adapters.map(adapterRow));
  byId("adapters").hidden = !model.adapters.length;
}

export function chosenTier() {
  return byId("quality-row").hidden ? undefined : byId("quality").value;
}

// The tier adds its own adapters to the chosen ones.
export function chosenAdapters() {
  const chosen = [...byId("adapters").querySelectorAll("[data-adapter]")].filter((row) => row.querySelector("[type=checkbox]").checked);
  const loras = chosen.map((row) => ({ id: row.dataset.adapter, scale: Number(row.querySelector("[type=number]").value) }));
  return loras.length ? loras : undefined;
}

// Switches on exactly these.
export function chooseAdapters(loras) {
  for (const row of byId("adapters").querySelectorAll("[data-adapter]")) {
    const chosen = loras.find(({ id }) => id === row.dataset.adapter);
    row.querySelector("[type=checkbox]").checked = Boolean(chosen);
    if (chosen) row.querySelector("[type=number]").value = chosen.scale;
  }
}

function adapterRow({ id, title, description, trigger_words: words, scale }) {
  const check = h("input", { type: "checkbox", id: `adapter-${id}` });
  const number = h("input", { type: "number", id: `scale-${id}`, step: "any", "aria-label": `Scale of ${title}` });
  setRange(number, scale);
  const text = [description, words.length ? `Words for the prompt: ${words.join(", ")}` : ""].filter(Boolean).join(" ");
  return h(
    "div",
    { class: "adapter", "data-adapter": id },
    h("label", { for: check.id, class: "check" }, check, ` ${title}`),
    number,
    text ? h("p", { class: "note" }, text) : null,
  );
}
