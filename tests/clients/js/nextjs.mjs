// What Next.js does with the files of the example: it calls the route's handlers, and renders the page on the server.
import { GET, POST } from "./route.js";
import { html } from "./page.js";

const site = "http://localhost:3000/api/phoenix";
const ask = (handle, path, cookie, body) =>
  handle(
    new Request(site + path, {
      method: body ? "POST" : "GET",
      headers: { cookie, origin: "http://localhost:3000", "content-type": "application/json" },
      body: body && JSON.stringify(body),
    }),
  );

const made = await ask(POST, "/v1/reels", "visitor=one", { clips: [{ prompt: "the sea", duration_s: 1 }] });
const { id } = await made.json();
const events = await (await ask(GET, `/v1/jobs/${id}/events`, "visitor=one")).text();
const job = await (await ask(GET, `/v1/jobs/${id}`, "visitor=one")).json();
const file = await ask(GET, `/v1/jobs/${id}/content`, "visitor=one");

console.log(JSON.stringify({
  page: /Make it/.test(html),
  made: made.status,
  ended: /event: job.succeeded/.test(events),
  state: job.state,
  file: file.headers.get("content-type"),
  of_another: (await ask(GET, `/v1/jobs/${id}`, "visitor=two")).status,
  of_nobody: (await ask(POST, "/v1/reels", "", { clips: [{ prompt: "a" }] })).status,
}));

// The renderer of React for browsers keeps Node running.
process.exit(0);
