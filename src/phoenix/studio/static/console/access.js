// What the key may do with the fleet: asked for once for each key.

import { apiKey, request } from "../api.js";

const nothing = { sees: false, steers: false, id: "" };

let askedFor = null;
let known = nothing;

export async function findAccess() {
  if (askedFor === apiKey()) return known;
  const key = apiKey();
  const { id, scopes } = await request("/v1/key");
  const steers = scopes.includes("admin");
  known = { id, steers, sees: steers || scopes.includes("operator") };
  askedFor = key;
  return known;
}

export function forgetAccess() {
  askedFor = null;
  known = nothing;
}
