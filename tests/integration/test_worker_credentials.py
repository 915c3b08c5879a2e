"""Results that a worker signs with the certificate of the operator, as c2pa itself reads them."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import c2pa
import pytest
from sqlalchemy.engine import URL

from fixtures.certificates import Authority, pem_of
from fixtures.workplace import a_reel, a_stitch, harness_settings, running_harness
from phoenix.contract import JobState
from phoenix.media.credentials.signing import CertificateUnusable
from phoenix.settings import C2paSettings
from phoenix.worker.main import WorkerPlan, serve
from phoenix.worker.shutdown import ShutdownState

AUTHORITY = Authority()


def read_credentials(path: Path, *, trusts: Authority) -> tuple[str | None, dict[str, Any]]:
    """The state of the signature, and the active manifest."""
    anchors = pem_of(trusts.root().certificate).decode()
    trust = {"user_anchors": anchors, "trust_config": "1.3.6.1.5.5.7.3.4"}
    context = c2pa.Context(c2pa.Settings.from_dict({"verify": {"verify_trust": True}, "trust": trust}))
    with path.open("rb") as file, c2pa.Reader("video/mp4", file, context=context) as reader:
        found = json.loads(reader.json())
        return reader.get_validation_state(), found["manifests"][found["active_manifest"]]


async def test_results_are_signed_last_of_all_and_say_how_they_were_made(
    sqlite_url: URL, redis_url: str, tmp_path: Path
) -> None:
    (certificates := tmp_path / "certificates").mkdir()
    certificate = AUTHORITY.signer().write(certificates, AUTHORITY.root())
    settings = harness_settings(tmp_path, sqlite_url, redis_url, c2pa=certificate)
    async with running_harness(settings) as harness, harness.worker():
        reel = await harness.until_ended(await harness.submit(a_reel(clips=2, captions="track")))
        assert reel.row.state is JobState.SUCCEEDED, reel.row.error
        assert reel.output is not None
        path = await harness.download(reel.output, tmp_path)
        stitch = await harness.until_ended(await harness.submit(a_stitch(await harness.upload(path))))
        assert stitch.output is not None
        joined = await harness.download(stitch.output, tmp_path)

    state, manifest = read_credentials(path, trusts=AUTHORITY)
    [actions] = [each["data"]["actions"] for each in manifest["assertions"] if each["label"].startswith("c2pa.actions")]
    assert (state, manifest["signature_info"]["common_name"]) == ("Trusted", "Signer")
    assert actions[0]["digitalSourceType"].endswith("/algorithmicMedia")
    assert "red balloon" not in json.dumps(manifest)
    assert reel.tasks[-1].made_with["c2pa-python"] == version("c2pa-python")
    assert read_credentials(joined, trusts=AUTHORITY)[0] == "Trusted"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16


async def test_a_worker_does_not_start_with_a_certificate_that_nobody_would_accept(
    sqlite_url: URL, redis_url: str, tmp_path: Path
) -> None:
    certificate: C2paSettings = AUTHORITY.signer(days=-1).write(tmp_path)
    settings = harness_settings(tmp_path, sqlite_url, redis_url, c2pa=certificate)
    with pytest.raises(CertificateUnusable, match="is valid from"):
        await serve(settings, WorkerPlan(("media",)), ShutdownState.from_settings(settings.worker))


async def test_a_worker_for_clips_alone_needs_no_certificate(sqlite_url: URL, redis_url: str, tmp_path: Path) -> None:
    certificate = C2paSettings(certificate=tmp_path / "elsewhere.pem", key=tmp_path / "elsewhere.key")
    settings = harness_settings(tmp_path, sqlite_url, redis_url, c2pa=certificate)
    async with running_harness(settings) as harness, harness.worker("gpu"):
        job_id = await harness.submit(a_reel())
        await harness.until(job_id, lambda job: job.tasks[0].artifact_id is not None)
