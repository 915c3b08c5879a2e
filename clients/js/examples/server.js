// A site whose visitors make reels, and never see the API key:
//   PHOENIX_URL=http://127.0.0.1:8080 PHOENIX_API_KEY=phx_… node server.js
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { createProxy, toNodeListener } from "@phoenix-video/client/proxy";

const PAGES = new URL("./page/", import.meta.url);
const CLIENT = new URL("./", import.meta.resolve("@phoenix-video/client"));
const TYPES = { html: "text/html", js: "text/javascript", map: "application/json" };

// Your site has its own sessions, and a database. Both are gone here when the process ends.
const jobsOf = new Map();
const visitorOf = (headers) => /(?:^|; )visitor=([\w-]+)/.exec(headers.get("cookie") ?? "")?.[1];

const proxy = toNodeListener(
  createProxy({
    baseUrl: process.env.PHOENIX_URL ?? "http://127.0.0.1:8080",
    apiKey: process.env.PHOENIX_API_KEY ?? "",
    authorize: ({ request, jobId }) => {
      const jobs = jobsOf.get(visitorOf(request.headers));
      return jobs !== undefined && (jobId === null || jobs.has(jobId));
    },
    onJob: (jobId, request) => jobsOf.get(visitorOf(request.headers)).add(jobId),
  }),
);

async function servePage(request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  const file = pathname.startsWith("/client/")
    ? new URL(`.${pathname.slice("/client".length)}`, CLIENT)
    : new URL(pathname === "/" ? "index.html" : `.${pathname}`, PAGES);
  const headers = { "content-type": TYPES[pathname.split(".").pop()] ?? "text/html" };
  const visitor = visitorOf(new Headers({ cookie: request.headers.cookie ?? "" }));
  if (!jobsOf.has(visitor)) {
    const id = randomUUID();
    jobsOf.set(id, new Set());
    headers["set-cookie"] = `visitor=${id}; Path=/; HttpOnly; SameSite=Strict`;
  }
  try {
    const content = await readFile(file);
    response.writeHead(200, headers).end(content);
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer((request, response) =>
  request.url.startsWith("/api/phoenix/") ? proxy(request, response) : servePage(request, response),
);
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
