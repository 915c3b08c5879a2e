// Every fault of a refusal, with the field that it is about.

import { h } from "./dom.js";

export function explain(element, problem) {
  const faults = (problem.fieldErrors ?? []).map(({ pointer, detail }) => h("li", {}, h("code", {}, pointer), ` ${detail}`));
  element.replaceChildren(h("p", {}, problem.message), ...(faults.length ? [h("ul", {}, ...faults)] : []));
}
