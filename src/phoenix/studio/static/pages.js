// Which part of a long list is shown, and which page of it is asked for next. Pure: ids sort by time, the newest first.

// `above` is the id that comes just before the page; null for the first page.
export const FIRST = { cursor: null, above: null };

export class Pages {
  constructor() {
    this.reset();
  }

  // Only the first page.
  reset() {
    this.floor = null;
    this.bottom = null;
    this.walk = null;
  }

  get isDeep() {
    return this.floor !== null;
  }

  // Below this id, nothing is shown.
  shows = (id) => !this.isDeep || id >= this.floor;

  // Whether a known job that the page does not list is gone: it would be on the page if it were there.
  covers(page, answer, id) {
    if (page.above !== null && id >= page.above) return false;
    return (page.above === null && !this.isDeep) || !answer.has_more || id >= answer.data.at(-1).id;
  }

  // After the first page: the older pages are asked for one by one, so that each stays live.
  next(first) {
    if (!this.isDeep || !first.has_more) return null;
    return this.walk ?? after(first);
  }

  walked(answer) {
    const isThrough = !answer.has_more || answer.data.at(-1).id <= this.floor;
    this.walk = isThrough ? null : after(answer);
  }

  // The page that comes next at the end of the list.
  older(first) {
    return this.bottom ?? after(first);
  }

  grew(answer) {
    if (answer.data.length) this.floor = answer.data.at(-1).id;
    this.bottom = answer.has_more ? after(answer) : null;
    this.hasOlder = answer.has_more;
  }
}

const after = ({ next_cursor: cursor, data }) => ({ cursor, above: data.at(-1).id });
