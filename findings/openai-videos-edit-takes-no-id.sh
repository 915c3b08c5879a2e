#!/bin/sh
# `videos.edit` and `videos.extend` of the OpenAI SDK are typed to take the id of a video of the server, as
# `video={"id": ...}`, and fail before they send anything: the SDK takes the value for a file. The same request by
# `client.post` is sent.
#
# Seen with openai 3.52.0: "RuntimeError: Expected entry at `video` to be bytes, an io.IOBase instance, PathLike or a
# tuple but received <class 'dict'> instead."
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openai==3.52.0
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from openai import OpenAI

RECEIVED = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        RECEIVED.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = OpenAI(api_key="none", base_url=f"http://127.0.0.1:{server.server_port}", max_retries=0)
video = {"id": "video_1"}
for call in (
    lambda: client.videos.edit(prompt="at night", video=video),
    lambda: client.videos.extend(prompt="at night", seconds="4", video=video),
):
    try:
        call()
    except RuntimeError as error:
        assert "Expected entry at `video` to be bytes" in str(error), error
    else:
        raise AssertionError("the call did not fail")
assert RECEIVED == [], RECEIVED
client.post("/videos/edits", body={"prompt": "at night", "video": video}, cast_to=object)
assert RECEIVED == [("/videos/edits", {"prompt": "at night", "video": video})], RECEIVED
server.shutdown()
print("as seen")
PYTHON
