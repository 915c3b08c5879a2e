"""`callback_url` of a video: its end is posted to a real receiver, in the form that the request was in."""

import hashlib
import hmac
import json

from fixtures.api import Api
from fixtures.webhook_receiver import Receiver
from phoenix.storage.keys import OutputName


async def test_a_callback_says_that_a_routed_video_is_completed_and_where_it_is(
    webhook_api: Api, receiver: Receiver
) -> None:
    body = {"prompt": "a cat", "duration": 1, "callback_url": receiver.url("/videos?id=7")}
    created = await webhook_api.http.post("/v1/videos", json=body)
    assert created.status_code == 202, created.text
    await webhook_api.finish_next("gpu", OutputName.CLIP, b"the clip")
    await webhook_api.finish_next("media", OutputName.OUTPUT, b"the video")

    received = await receiver.next()
    said = json.loads(received.body)
    secret = (await webhook_api.http.get("/v1/webhooks/secret")).json()["secret"]
    at, _, digest = received.headers["x-openrouter-signature"].partition(",v1=")
    message = b"%s,%s" % (at.removeprefix("t=").encode(), received.body)
    content = await webhook_api.http.get(said["data"]["unsigned_urls"][0])

    assert received.target == "/videos?id=7"
    assert (said["type"], said["data"]["id"]) == ("video.generation.completed", created.json()["id"])
    assert digest == hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    assert content.content == b"the video"


async def test_a_callback_url_that_leads_inside_is_refused(api: Api, receiver: Receiver) -> None:
    response = await api.http.post("/v1/videos", json={"prompt": "a cat", "callback_url": receiver.url()})

    assert (response.status_code, response.json()["error"]["param"]) == (400, "callback_url")
    assert receiver.received.empty()
