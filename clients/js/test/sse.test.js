import assert from "node:assert/strict";
import { test } from "node:test";

import { SseParser } from "../dist/sse.js";

const STREAM = ": hello\n\nid: 1\nevent: a\ndata: {\"one\": 1}\n\nretry: 250\n\nevent: b\r\ndata:two\r\ndata: lines\r\n\r\ndata\rid: 3\r\r";
const MESSAGES = [
  { data: '{"one": 1}', id: "1" },
  { data: "two\nlines", id: undefined },
  { data: "", id: "3" },
];

test("a stream gives its messages, with every kind of line end", () => {
  const parser = new SseParser();

  assert.deepEqual(parser.feed(STREAM), MESSAGES);
  assert.equal(parser.retryMs, 250);
});

test("a stream gives the same messages wherever its pieces are cut", () => {
  for (let length = 1; length <= STREAM.length; length += 1) {
    const parser = new SseParser();
    const found = [];
    for (let at = 0; at < STREAM.length; at += length) found.push(...parser.feed(STREAM.slice(at, at + length)));
    assert.deepEqual(found, MESSAGES, `pieces of ${length}`);
  }
});

test("a message that is not complete is no message", () => {
  assert.deepEqual(new SseParser().feed("id: 1\ndata: half\n"), []);
});
