"""What it costs to join clips by stream copy, and to probe a large upload.

    python benchmarks/media/measure.py [--source OTHER/src …] [--repeats 7]

Each `--source` is the `src` folder of another version of Phoenix: all versions and a bare ffmpeg take turns in one run,
so that the ratios hold on a busy machine. Counting the bytes that a probe reads needs strace.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from fixtures import child_processes

OURS = Path(__file__).resolve().parents[2] / "src"
CLIPS = 30
TAGS = {
    "tagged": ",setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv",
    "untagged": "",
}
CLIP_S = 5
UPLOAD_BYTES = 200_000_000
# Sounds by the end of their names, with the options of their encoder. ADTS has no index, and is read as a whole.
SOUNDS = {
    ".info.mp3": ["-b:a", "320k"],
    ".plain.mp3": ["-b:a", "320k", "-write_xing", "0"],
    ".opus": ["-c:a", "libopus", "-b:a", "320k"],
    ".ogg": ["-c:a", "libvorbis", "-b:a", "320k"],
    ".aiff": [],
    ".aac": ["-b:a", "320k"],
}

# Runs in a process of its own, with one version of Phoenix on its path. Prints one line of JSON.
JOIN = """
import json, resource, sys, time
from pathlib import Path
from phoenix.media.ffmpeg import MediaTools, find_ffmpeg
from phoenix.media.join import join_clips
folder = Path(sys.argv[1])
tools = MediaTools(find_ffmpeg())
clips = sorted(folder.glob("clip-*.mp4"))
start_s = time.perf_counter()
info = join_clips(clips, folder / "joined.mp4", tools=tools)
wall_s = time.perf_counter() - start_s
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": wall_s, "cpu_s": children.ru_utime + children.ru_stime, "frames": info.num_frames}))
"""
# Names the file of each read, also in child processes.
TRACE = ("strace", "-f", "-qq", "-y", "-e", "trace=read,pread64")
PROBE = """
import json, sys, time
from pathlib import Path
from phoenix.media.probe import ProbeLimits, probe_media
start_s = time.perf_counter()
info = probe_media(Path(sys.argv[1]), ProbeLimits(max_duration_s=20_000, timeout_s=120))
print(json.dumps({"wall_s": time.perf_counter() - start_s, "duration_s": info.duration_s}))
"""


def ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", *arguments]
    child_processes.run(command, check=True)


def make_clips(folder: Path, tags: str) -> None:
    """Clips of H.264 without sound, with equal settings. Those that Phoenix renders have tags."""
    graph = f"testsrc2=s=1280x720:r=24:d={{}}{tags}"
    options = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    ffmpeg("-f", "lavfi", "-i", graph.format(CLIP_S), *options, str(folder / "clip-00.mp4"))
    data = (folder / "clip-00.mp4").read_bytes()
    for index in range(1, CLIPS):
        (folder / f"clip-{index:02}.mp4").write_bytes(data)


def make_upload(folder: Path, suffix: str) -> Path:
    """A video with sound, or a sound, of about 200 MB."""
    short, long = folder / f"short{suffix}", folder / f"upload{suffix}"
    options = SOUNDS.get(suffix)
    if options is None:
        noise = "nullsrc=s=640x360:r=30:d=10,geq=random(1)*255:128:128"
        video = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "16M", "-pix_fmt", "yuv420p", "-bf", "0"]
        codec = "libmp3lame" if suffix == ".avi" else "aac"
        ffmpeg("-f", "lavfi", "-i", noise, "-f", "lavfi", "-i", "sine=440:d=10", *video, "-c:a", codec, str(short))
    else:
        noise = "anoisesrc=r=48000:a=0.5:d=60,aformat=channel_layouts=stereo"
        ffmpeg("-f", "lavfi", "-i", noise, *options, str(short))
    repeats = max(0, round(UPLOAD_BYTES / short.stat().st_size) - 1)
    kept = ["-write_xing", "0"] if suffix == ".plain.mp3" else []
    ffmpeg("-stream_loop", str(repeats), "-i", str(short), "-c", "copy", *kept, str(long))
    return long


def run(program: str, source: Path, *arguments: str) -> dict[str, float]:
    done = child_processes.run(
        [sys.executable, "-c", program, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"},
    )
    return json.loads(done.stdout)


def bare_concat(folder: Path) -> dict[str, float]:
    """The same clips, joined by one ffmpeg that checks nothing."""
    listed = folder / "list.txt"
    listed.write_text("".join(f"file '{path}'\n" for path in sorted(folder.glob("clip-*.mp4"))))
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ffmpeg("-f", "concat", "-safe", "0", "-i", str(listed), "-c", "copy", str(folder / "bare.mp4"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": time.perf_counter() - start_s, "cpu_s": cpu_s}


def measure_joins(sources: Sequence[Path], repeats: int) -> None:
    for kind, tags in TAGS.items():
        measure_join(kind, tags, sources, repeats)


def measure_join(kind: str, tags: str, sources: Sequence[Path], repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder, tags)
        rows: dict[str, list[dict[str, float]]] = {str(source): [] for source in sources} | {"bare ffmpeg": []}
        for _ in range(repeats):
            for source in sources:
                rows[str(source)].append(run(JOIN, source, name))
            rows["bare ffmpeg"].append(bare_concat(folder))
        print(f"joining {CLIPS} {kind} clips of {CLIP_S} s by stream copy, median of {repeats}")
        for title, found in rows.items():
            wall_s, cpu_s = (statistics.median(row[key] for row in found) for key in ("wall_s", "cpu_s"))
            print(f"  {title}: {wall_s:.3f} s, {cpu_s:.3f} s of CPU in children")


def measure_probes(sources: Sequence[Path], repeats: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        for suffix in (".mp4", ".mkv", ".avi", *SOUNDS):
            upload = make_upload(Path(name), suffix)
            size_bytes = upload.stat().st_size
            print(f"probing a {suffix} of {size_bytes / 1e6:.0f} MB")
            for source in sources:
                walls_s = [run(PROBE, source, str(upload))["wall_s"] for _ in range(repeats)]
                read_bytes = count_read_bytes(source, upload)
                share = read_bytes / size_bytes
                print(f"  {source}: {statistics.median(walls_s):.2f} s, {share:.2%} of the bytes read")


def count_read_bytes(source: Path, upload: Path) -> int:
    """Bytes of the upload that a probe reads, by the system calls of its processes."""
    with tempfile.NamedTemporaryFile("r") as trace:
        child_processes.run(
            [*TRACE, "-o", trace.name, sys.executable, "-c", PROBE, str(upload)],
            check=True,
            capture_output=True,
            env={"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin"},
        )
        reads = [line for line in trace if upload.name in line and ("read(" in line or "pread64(" in line)]
    return sum(max(0, int(line.rpartition("=")[2].split()[0])) for line in reads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, action="append", default=[])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    sources = [OURS, *(source.resolve() for source in arguments.source)]
    measure_joins(sources, arguments.repeats)
    measure_probes(sources, max(1, arguments.repeats // 3))


if __name__ == "__main__":
    main()
