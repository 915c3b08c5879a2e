// Rows that are brought up to date in place, so that the focus and what somebody types stay where they are.

import { hide } from "../dom.js";

export class Rows {
  // `make` gets an item and returns { element, update }, and `fallback` gets the focus of the last row that goes.
  constructor(element, { key, make, fallback = () => null }) {
    Object.assign(this, { element, key, make, fallback, rows: new Map() });
  }

  show(items) {
    const wanted = new Set(items.map(this.key));
    for (const name of [...this.rows.keys()]) if (!wanted.has(name)) this.remove(name);
    items.forEach((item, index) => this.place(this.put(item).element, index));
  }

  put(item) {
    const name = this.key(item);
    if (!this.rows.has(name)) this.rows.set(name, this.make(item));
    const row = this.rows.get(name);
    row.update(item);
    return row;
  }

  // Moves only what is out of place: moving an element takes the focus out of it.
  place(element, index) {
    const there = this.element.children[index] ?? null;
    if (there !== element) this.element.insertBefore(element, there);
  }

  remove(name) {
    const { element } = this.rows.get(name);
    const next = element.nextElementSibling ?? element.previousElementSibling;
    const isShown = ({ hidden }) => !hidden;
    hide(element, true, () => [...(next?.querySelectorAll("a, button") ?? [])].find(isShown) ?? this.fallback());
    element.remove();
    this.rows.delete(name);
  }
}
