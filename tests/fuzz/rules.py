"""The rules of the stateful fuzz: requests drawn from what everybody has made so far. Pure but for `draw`.

`draw_request` chooses a rule by its weight. The last rule knows nothing: it fills in any operation of the document.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from fixtures.client_tools import DOCUMENT
from fuzz.guided import guide
from fuzz.odd_values import BODIES, FILES, HEADERS, PATH_PARTS, QUERY_VALUES, TEXTS, tiny_png, tiny_wav
from fuzz.scene import Request, Scene, form, send_json

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


Rule = Callable[[Scene], Request]


def draw_request(scene: Scene) -> Request:
    rules = list(RULES)
    (rule,) = scene.draw.choices(rules, [RULES[rule] for rule in rules])
    request = rule(scene)
    if scene.draw.random() < 0.12:
        name = scene.draw.choice(sorted(HEADERS))
        request = replace(request, headers={**request.headers, name: scene.draw.choice(HEADERS[name])})
    if scene.draw.random() < 0.03:
        request = replace(request, with_key=False)
    return request


def options(scene: Scene) -> dict[str, Any]:
    chosen: dict[str, Any] = {"metadata": {scene.caller.canary: scene.text()}}
    if scene.draw.random() < 0.4:
        chosen["webhook"] = {"url": f"https://hooks.invalid/{scene.caller.canary}?key={scene.caller.canary}"}
    if scene.draw.random() < 0.1:
        chosen["queue_timeout_s"] = 0.5
    return chosen


def sound(scene: Scene) -> dict[str, Any]:
    if scene.draw.random() < 0.3:
        return {"url": f"https://sounds.invalid/{scene.caller.canary}.mp3"}
    return {"artifact_id": scene.own_or_other("artifacts")}


def create_reel(scene: Scene) -> Request:
    clips: list[dict[str, Any]] = [{"prompt": scene.text()} for _ in range(scene.draw.choice([1, 1, 1, 2, 3]))]
    body: dict[str, Any] = {"clips": clips, "duration_s": 1, "seed": 7, "resolution": "240p", **options(scene)}
    if scene.draw.random() < 0.15:
        body["soundtrack"] = sound(scene)
    if scene.draw.random() < 0.3:
        guide(scene, body)
    if scene.draw.random() < 0.2:
        body["hold"] = "draft"
    if scene.draw.random() < 0.2:
        clips[0] |= {"caption": scene.text(), "narration": scene.text()}
        body["captions"] = scene.draw.choice(["track", "burned", "off"])
    path = "/v1/estimates" if scene.draw.random() < 0.15 else "/v1/reels"
    return send_json(scene, path, body)


def edit_job(scene: Scene) -> Request:
    draw = scene.draw
    index = draw.choice([0, 0, 1, 7])
    changes: list[dict[str, Any]] = [
        {"op": "reroll", "index": index},
        {"op": "replace", "index": index, "clip": {"prompt": scene.text()}},
        {"op": "insert", "index": index, "clip": {"prompt": scene.text()}},
        {"op": "remove", "index": index},
    ]
    body = {"clips": draw.choices(changes, k=draw.choice([1, 1, 2])), "title": scene.text()}
    return send_json(scene, f"/v1/jobs/{scene.own_or_other('jobs')}/edits", body)


def rename_job(scene: Scene) -> Request:
    draw, job_id = scene.draw, scene.own_or_other("jobs")
    every: dict[str, Any] = {
        "title": scene.text(),
        "tags": [scene.text(20)],
        "favorite": draw.choice([True, False]),
        "metadata": {"shot": scene.text()},
        "priority": draw.choice(["low", "high"]),
    }
    chosen = draw.sample(sorted(every), draw.choice([1, 2]))
    request = send_json(scene, f"/v1/jobs/{job_id}", {name: every[name] for name in chosen})
    headers = dict(request.headers)
    if draw.random() < 0.3:
        headers["If-Match"] = scene.caller.etags.get(job_id, '"x"').encode("latin-1", "replace")
    return replace(request, method="PATCH", headers=headers)


def pause(scene: Scene) -> Request:
    """Only an operator may; whoever else asks learns nothing."""
    draw = scene.draw
    what = draw.choice(["queues/gpu", "models/animatic", "queues/nothing"])
    if draw.random() < 0.6:
        return Request("POST", f"/v1/{what}/resume")
    return send_json(scene, f"/v1/{what}/pause", {"reason": "a pause of the operator"})


def create_storyboard(scene: Scene) -> Request:
    draw = scene.draw
    body: dict[str, Any] = {"idea": scene.text(), "num_clips": draw.choice([1, 2, 60])}
    if draw.random() < 0.5:
        body |= {"style": scene.text(), "characters": [{"name": scene.text(20), "description": scene.text()}]}
    return send_json(scene, "/v1/storyboards", body)


def use_storyboard(scene: Scene) -> Request:
    draw, path = scene.draw, f"/v1/storyboards/{scene.own_or_other('storyboards')}"
    action = draw.choice(["", "", "/messages", "/messages", "/retry", "delete"])
    if action == "/messages":
        return send_json(scene, path + action, {"text": scene.text()})
    if action == "/retry":
        return Request("POST", path + action)
    headers = {"Accept": draw.choice([b"application/json", b"text/event-stream"])}
    return Request("DELETE" if action else draw.choice(["GET", "HEAD"]), path, headers=headers)


def create_stitch(scene: Scene) -> Request:
    videos = [scene.own_or_other("artifacts") for _ in range(scene.draw.choice([1, 2]))]
    return send_json(scene, "/v1/stitches", {"artifact_ids": videos, **options(scene)})


def create_soundtrack(scene: Scene) -> Request:
    return send_json(scene, "/v1/soundtracks", {"source": sound(scene), "duration_s": 1, **options(scene)})


def create_video(scene: Scene) -> Request:
    fields = {"prompt": scene.text(), "seconds": "1", "model": "animatic"}
    if scene.draw.random() < 0.5:
        return send_json(scene, "/v1/videos", fields)
    return form("/v1/videos", fields | ({scene.draw.choice(TEXTS): "x"} if scene.draw.random() < 0.2 else {}))


def remix_video(scene: Scene) -> Request:
    return send_json(scene, f"/v1/videos/{video_id(scene)}/remix", {"prompt": scene.text()})


def upload(scene: Scene) -> Request:
    draw = scene.draw
    data = draw.choice([tiny_png(), tiny_wav(), tiny_wav(0.1), draw.choice(FILES)])
    name = draw.choice(["{}.png", "{}.wav", "../../{}", "{}\x00.png", "{}\ud83c.png", "C:\\{}", '{}";x="y', "{}" * 40])
    return form("/v1/uploads", {}, data, name.format(*[scene.caller.canary] * 40))


def list_things(scene: Scene) -> Request:
    """A list with good filters: the words of one's own prompts, or of another caller's."""
    draw = scene.draw
    path = draw.choice(
        ["/v1/jobs", "/v1/jobs", "/v1/videos", "/v1/webhooks/deliveries", "/v1/artifacts", "/v1/storyboards"]
    )
    chosen = {"limit": str(draw.choice([1, 2, 20, 100]))}
    if draw.random() < 0.3 and path in ("/v1/jobs", "/v1/artifacts"):
        chosen["q"] = draw.choice([other.canary for other in scene.callers.everyone])
    if draw.random() < 0.2 and path == "/v1/jobs":
        chosen["state"] = draw.choice(["queued", "running", "succeeded", "failed", "canceled", "expired"])
    if draw.random() < 0.3 and path == "/v1/webhooks/deliveries":
        chosen["job_id"] = scene.own_or_other("jobs")
    cursors = [cursor for other in scene.callers.everyone for cursor in other.cursors[-3:]]
    if draw.random() < 0.3 and cursors:
        chosen["after" if path == "/v1/videos" else "cursor"] = draw.choice(cursors)
    return Request("GET", path, urlencode(chosen))


def read_job(scene: Scene) -> Request:
    job_id, draw = scene.own_or_other("jobs"), scene.draw
    of_clip = f"/clips/{draw.choice('0012x')}/{draw.choice(['content', 'segments', 'segments?rendition=captions'])}"
    suffix = draw.choice(
        [
            "",
            "",
            "/content",
            "/content?variant=thumbnail",
            "/content?variant=srt",
            "/playlist.m3u8",
            "/playlist.m3u8?rendition=captions",
            "/manifest",
            of_clip,
        ]
    )
    path, _, query = f"/v1/jobs/{job_id}{suffix}".partition("?")
    headers = {"Range": b"bytes=0-1"} if draw.random() < 0.2 else {}
    if not suffix and draw.random() < 0.3:
        headers["If-None-Match"] = scene.caller.etags.get(job_id, '"x"').encode("latin-1", "replace")
    return Request(draw.choice(["GET", "GET", "HEAD"]), path, query, headers)


def read_artifact(scene: Scene) -> Request:
    method = scene.draw.choice(["GET", "GET", "HEAD"])
    return Request(method, f"/v1/artifacts/{scene.own_or_other('artifacts')}{scene.draw.choice(['', '/content'])}")


def delete_artifact(scene: Scene) -> Request:
    return Request("DELETE", f"/v1/artifacts/{scene.own_or_other('artifacts')}")


def read_video(scene: Scene) -> Request:
    return Request("GET", f"/v1/videos/{video_id(scene)}{scene.draw.choice(['', '/content'])}")


def delete_video(scene: Scene) -> Request:
    return Request("DELETE", f"/v1/videos/{video_id(scene)}")


def video_id(scene: Scene) -> str:
    return scene.own_or_other("jobs").replace("job_", "video_")


def change_job(scene: Scene) -> Request:
    job_id, draw = scene.own_or_other("jobs"), scene.draw
    headers: dict[str, bytes] = {}
    if draw.random() < 0.4:
        headers["If-Match"] = scene.caller.etags.get(job_id, '"x"').encode("latin-1", "replace")
    action = draw.choice(["cancel", "retry", "retry", "approve", ""])
    path = f"/v1/jobs/{job_id}"
    return Request("POST", f"{path}/{action}", headers=headers) if action else Request("DELETE", path, headers=headers)


def follow_job(scene: Scene) -> Request:
    """As a stream, or its log as a page; with a key, or with a token of anybody for any job."""
    draw, path = scene.draw, f"/v1/jobs/{scene.own_or_other('jobs')}/events"
    headers = {"Accept": draw.choice([b"application/json", b"application/json", b"text/event-stream"])}
    if draw.random() < 0.3:
        headers["Last-Event-ID"] = str(draw.randrange(6)).encode()
    tokens = [(other, *token) for other in scene.callers.everyone for token in other.tokens[-4:]]
    if draw.random() < 0.35 and tokens:
        maker, job_id, token = draw.choice(tokens)
        path = draw.choice([path, f"/v1/jobs/{job_id}/events"])
        return Request("GET", path, urlencode({"token": token}), headers, with_key=False, token_of=maker)
    return Request(draw.choice(["GET", "HEAD"]), path, headers=headers)


def follow_all(scene: Scene) -> Request:
    return Request("GET", "/v1/events", headers={"Accept": b"text/event-stream"})


def make_token(scene: Scene) -> Request:
    kind = scene.draw.choice(["stream-tokens", "media-tokens"])
    return Request("POST", f"/v1/jobs/{scene.own_or_other('jobs')}/{kind}")


def use_webhooks(scene: Scene) -> Request:
    method, path = scene.draw.choice(
        [
            ("GET", "/v1/webhooks/secret"),
            ("POST", "/v1/webhooks/secret/rotate"),
            ("POST", f"/v1/webhooks/deliveries/{scene.own_or_other('deliveries')}/replay"),
        ]
    )
    return Request(method, path)


def look_around(scene: Scene) -> Request:
    paths = ["/v1/models", "/v1/queue", "/v1/workers", "/health", "/health/live", "/health/ready", "/metrics"]
    return Request("GET", scene.draw.choice([*paths, "/", "/docs", "/openapi.json", "/v1/nothing", "//v1/jobs"]))


@cache
def operations() -> Sequence[tuple[str, str, Sequence[str]]]:
    """Method, path and the names of the query's parameters of every operation in the document."""
    paths: Mapping[str, Mapping[str, Any]] = json.loads(DOCUMENT.read_text())["paths"]
    return [
        (method, path, [each["name"] for each in operation.get("parameters", ()) if each.get("in") == "query"])
        for path, each in sorted(paths.items())
        for method, operation in sorted(each.items())
        if method in METHODS
    ]


def anything(scene: Scene) -> Request:
    """Any operation, with odd values in its path, its query and its body, and sometimes another method."""
    draw = scene.draw
    method, path, names = draw.choice(operations())
    for name, kind in {
        "job_id": "jobs",
        "video_id": "jobs",
        "artifact_id": "artifacts",
        "delivery_id": "deliveries",
        "storyboard_id": "storyboards",
    }.items():
        filled = scene.own_or_other(kind) if draw.random() < 0.7 else odd_id(scene, kind)
        path = path.replace(f"{{{name}}}", filled.replace("job_", "video_") if name == "video_id" else filled)
    path = path.replace("{index}", draw.choice(["0", "1", *PATH_PARTS]))
    chosen = [(name, draw.choice(QUERY_VALUES)) for name in names if draw.random() < 0.4]
    if draw.random() < 0.1:
        chosen.append((draw.choice(["unknown", "limit", "\x00", "a[]"]), "1"))
    query = "&".join(f"{quote(name)}={quote(value, errors='surrogatepass')}" for name, value in chosen)
    if method in ("get", "head") and draw.random() < 0.9:
        return Request(method.upper(), path, query)
    method = draw.choice(METHODS) if draw.random() < 0.1 else method
    headers = {"Content-Type": draw.choice([b"application/json", b"multipart/form-data; boundary=x", b"text/plain"])}
    return Request(method.upper(), path, query, headers, draw.choice(BODIES))


def odd_id(scene: Scene, kind: str) -> str:
    """An id of the caller's with something added, or something else in its place."""
    owned: Sequence[str] = getattr(scene.caller, kind)
    added = scene.draw.choice(["%0A", "%00", "/", "/..", ".json", ";x", "%20", "%2F", "%F0%9F"])
    return owned[-1] + added if owned and scene.draw.random() < 0.4 else scene.draw.choice(PATH_PARTS)


RULES: Mapping[Rule, float] = {
    create_reel: 12,
    edit_job: 5,
    rename_job: 4,
    pause: 1,
    create_storyboard: 3,
    use_storyboard: 4,
    create_stitch: 3,
    create_soundtrack: 3,
    create_video: 4,
    remix_video: 2,
    upload: 3,
    list_things: 10,
    read_job: 12,
    read_artifact: 5,
    delete_artifact: 2,
    read_video: 4,
    delete_video: 1,
    change_job: 10,
    follow_job: 6,
    follow_all: 1,
    make_token: 3,
    use_webhooks: 4,
    look_around: 3,
    anything: 20,
}
