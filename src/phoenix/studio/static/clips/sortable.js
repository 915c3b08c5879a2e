// A list whose items are moved by a grip: dragged with a pointer, or with the arrow keys.

import { h } from "../dom.js";

const KEYS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
// Near the edge of the window, the page scrolls.
const EDGE_PX = 60;

// `move(item, to)` brings the item to that index. The grip keeps the focus.
export function makeGrip(item, list, move) {
  const grip = h("span", { class: "grip", role: "button", tabindex: 0 }, "⠿");
  grip.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (!step) return;
    event.preventDefault();
    const to = indexOf(item, list) + step;
    if (to < 0 || to >= list.children.length) return;
    move(item, to);
    grip.focus();
  });
  grip.addEventListener("pointerdown", (event) => drag(event, { grip, item, list, move }));
  return grip;
}

export const nameGrip = (grip, name) => grip.setAttribute("aria-label", `Move ${name}: arrow keys`);

// The item stays where it is until it is dropped, so that the pointer stays captured. A line shows where it would go.
function drag(event, { grip, item, list, move }) {
  if (event.button) return;
  grip.setPointerCapture(event.pointerId);
  item.classList.add("dragged");
  let target = null;
  const follow = ({ clientX, clientY }) => {
    if (clientY < EDGE_PX) scrollBy(0, -EDGE_PX / 2);
    if (clientY > innerHeight - EDGE_PX) scrollBy(0, EDGE_PX / 2);
    mark(target, null);
    target = itemAt(clientX, clientY, list);
    if (target === item) target = null;
    mark(target, target && indexOf(target, list) > indexOf(item, list) ? "after" : "before");
  };
  const finish = (ending) => {
    grip.removeEventListener("pointermove", follow);
    for (const name of ["pointerup", "pointercancel"]) grip.removeEventListener(name, finish);
    item.classList.remove("dragged");
    mark(target, null);
    if (target && ending.type === "pointerup") move(item, indexOf(target, list));
  };
  grip.addEventListener("pointermove", follow);
  for (const name of ["pointerup", "pointercancel"]) grip.addEventListener(name, finish);
}

function itemAt(x, y, list) {
  const hit = document.elementFromPoint(x, y);
  return [...list.children].find((child) => child.contains(hit)) ?? null;
}

function mark(item, place) {
  if (item && place) item.dataset.drop = place;
  else if (item) delete item.dataset.drop;
}

export const indexOf = (item, list) => [...list.children].indexOf(item);

// Moves an element of a list, or of an array of the same order.
export function moveElement(list, item, to) {
  const others = [...list.children].filter((child) => child !== item);
  list.insertBefore(item, others[to] ?? null);
}

export function moveWithin(array, from, to) {
  const [moved] = array.splice(from, 1);
  array.splice(to, 0, moved);
}
