// What the page of the example site does, without a browser. Argument: the URL of the site.
import { Phoenix } from "@phoenix-video/client";

const site = process.argv[2];

async function visit() {
  const page = await fetch(site);
  const cookie = page.headers.get("set-cookie").split(";")[0];
  return { text: await page.text(), phoenix: new Phoenix({ baseUrl: `${site}/api/phoenix`, headers: { cookie } }), cookie };
}

const one = await visit();
const other = await visit();
const job = await one.phoenix.run({ clips: [{ prompt: "the sea", duration_s: 1 }] });
const status = (promise) => promise.then(() => 200, (error) => error.status);
const played = await fetch(job.output.signed_url, { headers: { range: "bytes=0-99", cookie: one.cookie } });

console.log(JSON.stringify({
  page: /<title>(.*)<\/title>/.exec(one.text)[1],
  client: (await fetch(`${site}/client/index.js`)).status,
  state: job.state,
  plays: [played.status, played.headers.get("content-type")],
  of_another_visitor: await status(other.phoenix.getJob(job.id)),
  without_a_session: await status(new Phoenix({ baseUrl: `${site}/api/phoenix` }).submit("a")),
  list: await status(one.phoenix.call("get", "/v1/jobs")),
  from_another_site: await status(one.phoenix.submit("a", { headers: { "sec-fetch-site": "cross-site" } })),
}));
