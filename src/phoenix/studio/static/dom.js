// Small helpers for the page: elements without markup in strings, and numbers as people read them.

export const byId = (id) => document.getElementById(id);

// h("p", { class: "note" }, "text", child): everything from the server goes in as text, never as markup.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Writes only what differs, so that a screen reader and the selection are left in peace.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A button that is `disabled` loses the focus. This one keeps it: whoever handles its clicks asks `isBusy` first.
export const setBusy = (button, busy) => button.setAttribute("aria-disabled", String(Boolean(busy)));
export const isBusy = (button) => button.getAttribute("aria-disabled") === "true";

// Where the focus was, the page has to say where it goes: the browser would take it to the start of the page.
export function hide(element, isHidden, next) {
  const hadFocus = element.contains(document.activeElement);
  element.hidden = isHidden;
  if (isHidden && hadFocus) next()?.focus();
}

// A key that is held down would press one button after the other: the focus moves on after each.
export const ignoreRepeated = (event) => event.repeat && event.key === "Enter" && event.preventDefault();

// A button that acts on its second click; leaving it, or Escape, takes the first one back.
export function confirmed(name, question, act) {
  const button = h("button", { type: "button", class: "quiet" }, name);
  button.addEventListener("click", () => (button.textContent === question ? act() : ask()));
  button.addEventListener("blur", () => label(name));
  button.addEventListener("keydown", (event) => event.key === "Escape" && label(name));
  const rest = () => button.getAttribute("aria-label").slice(button.textContent.length);
  const label = (text) => {
    button.setAttribute("aria-label", text + rest());
    setText(button, text);
  };
  const ask = () => {
    label(question);
    button.focus();
  };
  return button;
}

export function seconds(value) {
  if (value == null) return "";
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  const total = Math.round(value);
  const parts = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = value ? Math.min(Math.floor(Math.log10(value) / 3), units.length - 1) : 0;
  return `${(value / 1000 ** power).toPrecision(3)} ${units[power]}`;
}
