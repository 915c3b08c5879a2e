#!/bin/sh
# The errors of `client.interactions` of google-genai are no `google.genai.errors.APIError`, and it wraps the errors of httpx: a
# caller that catches what `client.models` raises catches neither a refusal nor a connection that is refused.
#
# Seen with google-genai 3.4.0, asked where nothing listens:
#   client.models.generate_videos   httpx.ConnectError
#   client.interactions.create      google.genai._gaos.lib.compat_errors.APIConnectionError, whose cause is httpx.ConnectError
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "google-genai==3.4.0" "httpx==0.28.1"
"$folder/venv/bin/python" - <<'PYTHON'
import socket

import httpx
from google import genai
from google.genai import errors, types

with socket.create_server(("127.0.0.1", 0)) as closed:
    url = f"http://127.0.0.1:{closed.getsockname()[1]}"
options = types.HttpOptions(
    base_url=url, httpx_client=httpx.Client(), retry_options=types.HttpRetryOptions(attempts=1)
)
client = genai.Client(vertexai=True, api_key="k", http_options=options)


def raised(call):
    try:
        call()
    except Exception as error:
        return error


source = types.GenerateVideosSource(prompt="a fox")
video = raised(lambda: client.models.generate_videos(model="veo-3.1-generate-001", source=source))
interaction = raised(lambda: client.interactions.create(model="gemini-omni-1.2-flash", input="a fox"))
assert isinstance(video, httpx.ConnectError), f"changed: {type(video)}"
assert not isinstance(interaction, (httpx.HTTPError, errors.APIError)), f"changed: {type(interaction)}"
assert isinstance(interaction.__cause__, httpx.ConnectError), f"changed: {type(interaction.__cause__)}"
PYTHON
echo "as seen"
