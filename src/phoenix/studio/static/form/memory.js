// What was typed into the form, kept in this tab over a reload. Files are not: a browser gives no page their paths.

import { byId } from "../dom.js";

const PLACE = "phoenix-new-reel";

const fields = () => [...byId("new").querySelectorAll("[id]:is(input, select, textarea):not([type=file])")];
const valueOf = (field) => (field.type === "checkbox" ? field.checked : field.value);

export const valuesOfForm = () => Object.fromEntries(fields().map((field) => [field.id, valueOf(field)]));

export function remember(clips) {
  sessionStorage.setItem(PLACE, JSON.stringify({ values: valuesOfForm(), clips }));
}

export function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null;
  }
}

export const forget = () => sessionStorage.removeItem(PLACE);

// Only what the field can have: an option may be gone since.
export function restore(values) {
  for (const [id, value] of Object.entries(values)) {
    const field = byId(id);
    if (!field || value === undefined) continue;
    if (field.type === "checkbox") field.checked = value;
    else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === String(value))) field.value = value;
  }
}
