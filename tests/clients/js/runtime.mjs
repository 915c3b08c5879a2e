// A reel through the proxy of a server, in Node 18, Deno or Bun. Argument: the URL of Phoenix.
import { Phoenix } from "@phoenix-video/client";
import { createProxy, toNodeListener } from "@phoenix-video/client/proxy";
import { verifyWebhook } from "@phoenix-video/client/webhooks";

const proxy = createProxy({ baseUrl: process.argv[2], apiKey: "phx_1", authorize: () => true });

async function serve() {
  if (globalThis.Bun) return Bun.serve({ port: 0, hostname: "127.0.0.1", idleTimeout: 60, fetch: proxy }).port;
  if (globalThis.Deno) return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, proxy).addr.port;
  const { createServer } = await import("node:http");
  const server = createServer(toNodeListener(proxy));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server.address().port;
}

const phoenix = new Phoenix({ baseUrl: `http://127.0.0.1:${await serve()}/api/phoenix` });
const events = [];
const job = await phoenix.run(
  { clips: [{ prompt: "the sea", duration_s: 1 }] },
  { onEvent: (event) => events.push(event.type) },
);
const video = await phoenix.download(job);
const part = await fetch(job.output.signed_url, { headers: { range: "bytes=4-7" } });
const refused = await phoenix.submit("").catch((error) => error);
const forged = await verifyWebhook("{}", new Headers({
  "webhook-id": "1", "webhook-timestamp": String(Math.floor(Date.now() / 1000)), "webhook-signature": "v1,AAAA",
}), "whsec_AAAA").catch((error) => error);

console.log(JSON.stringify({
  events: [events[0], events.at(-1)],
  is_whole: video.size === job.output.size_bytes,
  part: await part.text(),
  refused: refused.pointer,
  forged: forged.code,
}));
process.exit(0);
