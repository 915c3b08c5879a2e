// The search of the console: words and qualifiers, such as `state:failed model:animatic after:2h`. Pure.

const STATES = ["held", "queued", "running", "succeeded", "failed", "canceled", "expired"];
const KINDS = ["reel", "stitch", "soundtrack"];
const UNIT_S = { m: 60, h: 3600, d: 86400, w: 604800 };

export const HELP = "state: kind: model: owner: tag: metadata.KEY: after:2h before:2026-11-30 is:favorite, and words of one owner";

// { owner, filter, faults }: `filter` has the names of the bulk filter, and `faults` are texts. `now` is in milliseconds.
export function readSearch(text, now) {
  const found = { owner: "all", filter: {}, faults: [] };
  const words = [];
  for (const part of text.match(/[^\s"]*"[^"]*"|\S+/g) ?? []) {
    const [, name, quoted] = /^([a-z]+(?:\.[^:\s]+)?):(.*)$/.exec(part) ?? [];
    const value = quoted?.replaceAll('"', "");
    if (part.startsWith("#") && part.length > 1) add(found.filter, "tags", part.slice(1));
    else if (!name) words.push(part);
    else if (!value) found.faults.push(`${name}: needs a value`);
    else qualify(found, name, value, now);
  }
  if (words.length) found.filter.q = words.join(" ");
  return found;
}

function qualify(found, name, value, now) {
  const { filter, faults } = found;
  const oneOf = (values) => (values.includes(value) ? (filter[name] = value) : faults.push(`${name}: is one of ${values.join(", ")}`));
  if (name === "state") oneOf(STATES);
  else if (name === "kind") oneOf(KINDS);
  else if (name === "model") filter.model = value;
  else if (name === "owner") found.owner = value;
  else if (name === "tag") add(filter, "tags", value);
  else if (name === "is" && value === "favorite") filter.favorite = true;
  else if (name.startsWith("metadata.")) filter.metadata = { ...filter.metadata, [name.slice(9)]: value };
  else if (name === "after" || name === "before") {
    const moment = momentOf(value, now);
    if (moment) filter[`created_${name}`] = moment;
    else faults.push(`${name}: is a date such as 2026-11-30, or an age such as 30m, 2h or 3d`);
  } else faults.push(`${name}: is not known; there are ${HELP}`);
}

const add = (filter, name, value) => (filter[name] = [...(filter[name] ?? []), value]);

function momentOf(value, now) {
  const [, number, unit] = /^(\d+)([mhdw])$/.exec(value) ?? [];
  const time = unit ? now - number * UNIT_S[unit] * 1000 : Date.parse(value);
  return Number.isNaN(time) || Math.abs(time) > 8.64e15 ? null : new Date(time).toISOString();
}

// As the parameters of the list of jobs.
export function paramsOf({ owner, filter }) {
  const { tags = [], metadata = {}, ...plain } = filter;
  return [
    ["owner", owner],
    ...Object.entries(plain).map(([name, value]) => [name, String(value)]),
    ...tags.map((tag) => ["tag", tag]),
    ...Object.entries(metadata).map(([name, value]) => [`metadata.${name}`, value]),
  ];
}
