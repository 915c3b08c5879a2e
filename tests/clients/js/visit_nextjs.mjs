// What a browser does with the example: opens the page, and makes a reel through its route.
const site = process.argv[2];
const page = await fetch(site);
const html = await page.text();
const cookie = page.headers.getSetCookie()[0].split(";")[0];
const ask = (path, visitor, body) =>
  fetch(`${site}/api/phoenix${path}`, {
    method: body ? "POST" : "GET",
    headers: { cookie: visitor, origin: site, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
const made = await ask("/v1/reels", cookie, { clips: [{ prompt: "the sea", duration_s: 1 }] });
const { id } = await made.json();
const events = await (await ask(`/v1/jobs/${id}/events`, cookie)).text();
const file = await ask(`/v1/jobs/${id}/content`, cookie);
const bytes = new Uint8Array(await file.arrayBuffer());
console.log(JSON.stringify({
  page: /Make it/.test(html),
  script: (await fetch(new URL(/src="(\/_next[^"]*\.js)"/.exec(html)[1], site))).status,
  made: made.status,
  ended: /event: job.succeeded/.test(events),
  file: file.headers.get("content-type"),
  begins: String.fromCharCode(...bytes.slice(4, 8)),
  of_another: (await ask(`/v1/jobs/${id}`, "visitor=two")).status,
  of_nobody: (await ask("/v1/reels", "", { clips: [{ prompt: "a" }] })).status,
}));
