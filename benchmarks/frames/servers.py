"""The servers that `measure.py` compares, each in a process of its own, all with one method of gRPC that makes a frame.

    python servers.py seed|phoenix OPTIONS_AS_JSON

`seed` is the server of the seed document: grpc.aio, one request, one call of the model in the handler. Both hold the
same registered picture, hear the same sound and make the same JPEG with the same code; only the arrangement differs.
Prints its port, and ends when its standard input ends.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from PIL import Image

from phoenix.frames.live_sound import LiveSound
from phoenix.frames.renderer import BatchRenderer, RendererOptions
from phoenix.frames.service import FaceBox, FrameService, ImageFormat
from phoenix.frames.sessions import make_request
from phoenix.settings import Settings

METHOD = "/lip.Lip/Sync"
PORT = "port "
"""Before the port in a line of the output, which has lines of the log too."""
RATE_HZ = 16_000
SIDE_PX = 256
BOX = FaceBox(64, 64, 128, 128)


def settings_of(options: dict[str, Any]) -> Settings:
    return Settings(
        engine={"catalog_file": options["catalog"]},
        lipsync={"default_model": options["model"]},
        frames={name: options[name] for name in ("processes", "threads", "batch", "window_ms") if name in options},
        log={"level": "WARNING"},
    )


def write_face(folder: Path) -> Path:
    """A smooth picture: its JPEG has about 15 kB."""
    small = np.random.default_rng(0).integers(60, 230, (SIDE_PX // 8, SIDE_PX // 8, 3), np.uint8)
    path = folder / "face.png"
    Image.fromarray(small).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).save(path)
    return path


async def serve(kind: str, options: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        face = write_face(Path(folder))
        if kind == "seed":
            # Only to register the picture: this service has no engine process.
            async with FrameService(settings_of(options | {"processes": 0, "threads": 1})) as service:
                video = await service.register_video(face, box=BOX, model=None)
                await answer(seed_handler(service, video.video_id, options))
        else:
            async with FrameService(settings_of(options)) as service:
                video = await service.register_video(face, box=BOX, model=None)

                async def make(sound: bytes, _: Any) -> bytes:
                    made = await service.render_frame(
                        video.video_id, 0, sound, sample_rate=RATE_HZ, format=ImageFormat.JPEG
                    )
                    return made.image

                await answer(make)


def seed_handler(service: FrameService, video_id: str, options: dict[str, Any]) -> Any:
    """Calls the model in the handler, with as many threads as the libraries like, or `threads`."""
    renderer = BatchRenderer(RendererOptions(service.videos_folder, "cpu", options.get("threads", 0), 90))
    info = service.get_video(video_id)
    spec = service.get_model(info.model)
    renderer.load(spec)

    async def make(sound: bytes, _: Any) -> bytes:
        heard = LiveSound(spec, rate_hz=RATE_HZ, fps=info.fps)
        heard.append(sound)
        heard.end()
        moment = heard.find_moment(0)
        assert moment is not None
        return renderer.render(info.model, [make_request(info, 0, moment, ImageFormat.JPEG)])[0]

    return make


async def answer(make: Any) -> None:
    server = grpc.aio.server()
    handlers = {"Sync": grpc.unary_unary_rpc_method_handler(make)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lip.Lip", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"{PORT}{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], json.loads(sys.argv[2])))
