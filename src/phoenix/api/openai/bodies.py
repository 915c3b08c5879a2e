"""The bodies of the routes under `/v1/videos`, as the OpenAPI document has them."""

from typing import Any

_SCHEMA = {"$ref": "#/components/schemas/VideoRequest"}
_EXAMPLES = {
    "one clip": {"value": {"prompt": "a red balloon over a harbour at dawn", "seconds": "4", "size": "1280x720"}},
    "OpenRouter's form": {
        "value": {
            "prompt": "a red balloon over a harbour at dawn",
            "duration": 4,
            "resolution": "720p",
            "aspect_ratio": "16:9",
            "callback_url": "https://example.com/hooks/phoenix",
        }
    },
    "a whole reel": {
        "value": {"prompt": "the harbour", "clips": '[{"prompt": "a red balloon"}, {"prompt": "the sea", "seed": 7}]'}
    },
}
VIDEO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _SCHEMA, "examples": _EXAMPLES},
            "application/json": {"schema": _SCHEMA, "examples": _EXAMPLES},
        },
    }
}

_REMIX_EXAMPLES = {"another prompt": {"value": {"prompt": "a blue balloon over a harbour at dawn"}}}
_REMIX = {"schema": {"$ref": "#/components/schemas/VideoRemixRequest"}}
REMIX_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {**_REMIX, "examples": _REMIX_EXAMPLES}}}
}

_EXTENSION_EXAMPLES = {
    "four more seconds": {
        "value": {"prompt": "it lands", "seconds": "4", "video": {"id": "video_01kag3e9zq4f7w5m8x2c6b0n1d"}}
    }
}
_EXTENSION: dict[str, Any] = {
    "schema": {"$ref": "#/components/schemas/VideoExtensionRequest"},
    "examples": _EXTENSION_EXAMPLES,
}
_EDIT: dict[str, Any] = {
    "schema": {"$ref": "#/components/schemas/VideoEditRequest"},
    "examples": {
        "other weather": {
            "value": {
                "prompt": "the same harbour in the rain",
                "video": {"id": "video_01kag3e9zq4f7w5m8x2c6b0n1d"},
                "model": "lucy-edit-dev",
            }
        }
    },
}
EDIT_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": _EDIT, "application/json": _EDIT}}
}
EXTENSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": _EXTENSION, "application/json": _EXTENSION},
    }
}
