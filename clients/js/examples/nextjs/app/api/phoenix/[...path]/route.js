// Everything that a page asks Phoenix for comes through here, and gets the key that no page has.
import { createProxy } from "@phoenix-video/client/proxy";

// Your site has its own sessions, and a database. Both are gone here when the process ends.
const jobsOf = new Map();
const visitorOf = (request) => /(?:^|; )visitor=([\w-]+)/.exec(request.headers.get("cookie") ?? "")?.[1];

const proxy = createProxy({
  baseUrl: process.env.PHOENIX_URL ?? "http://127.0.0.1:8080",
  apiKey: process.env.PHOENIX_API_KEY ?? "",
  authorize: ({ request, jobId }) => {
    const visitor = visitorOf(request);
    return visitor !== undefined && (jobId === null || jobsOf.get(visitor)?.has(jobId) === true);
  },
  onJob: (jobId, request) => {
    const visitor = visitorOf(request);
    jobsOf.set(visitor, (jobsOf.get(visitor) ?? new Set()).add(jobId));
  },
});

// A stream may be open for as long as its job takes.
export const dynamic = "force-dynamic";
export const GET = proxy;
export const POST = proxy;
