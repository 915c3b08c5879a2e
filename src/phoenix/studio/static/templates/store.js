// The templates that somebody has saved in this browser, apart for each key.

import { apiKey } from "../api.js";

// The second part of a key is its id, which is no secret.
const place = () => `phoenix-templates:${apiKey().split("_")[1] ?? ""}`;

export function savedTemplates() {
  try {
    return JSON.parse(localStorage.getItem(place())) ?? [];
  } catch {
    return [];
  }
}

// A template of the same name is replaced.
export function saveTemplate(template) {
  write([template, ...savedTemplates().filter(({ name }) => name !== template.name)]);
}

export function deleteTemplate(name) {
  write(savedTemplates().filter((template) => template.name !== name));
}

const write = (templates) => localStorage.setItem(place(), JSON.stringify(templates));
