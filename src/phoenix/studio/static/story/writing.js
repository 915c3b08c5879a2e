// Requests that have a storyboard written: each is answered with the stream of its writing.

import { authorization, newKey, problemOf } from "../api.js";
import { frames } from "../stream.js";

// Calls onEvent for each event, up to the one with the storyboard as it was written, or as it failed.
export async function write(path, json, onEvent, signal) {
  const type = json && { "Content-Type": "application/json" };
  const headers = { Accept: "text/event-stream", "Idempotency-Key": newKey(), ...type, ...authorization() };
  const response = await fetch(path, { method: "POST", body: json && JSON.stringify(json), headers, signal });
  if (!response.ok) throw await problemOf(response);
  for await (const { data } of frames(response.body)) if (data) onEvent(JSON.parse(data));
}
