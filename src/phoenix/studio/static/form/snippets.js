// A request as code that makes it. Pure. The key is never in it: it comes from the environment of whoever runs the code.

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(reel, origin) {
  return [
    `curl ${origin}/v1/reels \\`,
    `  -H "Authorization: Bearer $PHOENIX_API_KEY" \\`,
    `  --json ${quoted(JSON.stringify(reel, null, 2))}`,
  ].join("\n");
}

export function asPython(reel, origin) {
  return [
    "import os",
    "from pathlib import Path",
    "",
    "from phoenix.client import Phoenix",
    "",
    `reel = ${pythonValue(reel)}`,
    `with Phoenix(${JSON.stringify(origin)}, api_key=os.environ.get("PHOENIX_API_KEY")) as phoenix:`,
    "    job = phoenix.submit_reel(reel)",
    "    for event in phoenix.watch(job.id):",
    "        print(event.type)",
    '    phoenix.download(job.id, Path("reel.mp4"))',
  ].join("\n");
}

export function asJavaScript(reel, origin) {
  return [
    `const answer = await fetch(${JSON.stringify(`${origin}/v1/reels`)}, {`,
    '  method: "POST",',
    '  headers: { "Content-Type": "application/json", Authorization: `Bearer ${process.env.PHOENIX_API_KEY}` },',
    `  body: JSON.stringify(${JSON.stringify(reel, null, 2).replaceAll("\n", "\n  ")}),`,
    "});",
    "const job = await answer.json();",
    "console.log(job.id, job.state);",
  ].join("\n");
}

function pythonValue(value, indent = "") {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const [open, close, items] = Array.isArray(value)
    ? ["[", "]", value.map((each) => pythonValue(each, inner))]
    : ["{", "}", Object.entries(value).filter(([, each]) => each !== undefined).map(([key, each]) => `${JSON.stringify(key)}: ${pythonValue(each, inner)}`)];
  return items.length ? `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}${close}` : open + close;
}
