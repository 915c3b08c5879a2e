// Templates above the form: some come with the page, and others are saved from the form.

import { byId, confirmed, h, hide, setText } from "../dom.js";
import { counted } from "../job.js";
import { READY } from "./ready.js";
import { deleteTemplate, savedTemplates, saveTemplate } from "./store.js";

export class TemplatePanel {
  constructor(form) {
    this.form = form;
    byId("template-save").addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    byId("templates").addEventListener("toggle", () => this.show());
    this.show();
  }

  save() {
    const name = byId("template-name").value.trim();
    try {
      saveTemplate({ name, ...this.form.asTemplate() });
    } catch {
      return setText(byId("template-note"), "The browser has no space for it.");
    }
    byId("template-name").value = "";
    this.show();
    setText(byId("template-note"), `${name} is saved in this browser.`);
  }

  show() {
    const own = savedTemplates().map((template) => this.line(template, true));
    byId("template-list").replaceChildren(...own, ...READY.map((template) => this.line(template, false)));
    setText(byId("template-note"), "");
  }

  line(template, isOwn) {
    const { name, values, clips } = template;
    const use = h("button", { type: "button", class: "quiet small", "aria-label": `Use ${name}`, onclick: () => this.form.useTemplate(template) }, "Use");
    const facts = [counted(clips.length, "clip"), values.aspect].filter(Boolean).join(" · ");
    const element = h("li", {}, h("span", {}, name, h("span", { class: "note" }, ` ${facts}`)), use);
    if (isOwn) element.append(this.deleting(name, element));
    return element;
  }

  deleting(name, element) {
    const button = confirmed("Delete", "Delete?", () => {
      deleteTemplate(name);
      hide(element, true, () => byId("template-name"));
      element.remove();
    });
    button.classList.add("small");
    button.setAttribute("aria-label", `Delete ${name}`);
    return button;
  }
}
