"""What the manifests for Cloud Run, Railway and Heroku promise; these platforms are not here to try them on."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml

from fixtures.kubernetes import FILL_IN
from fixtures.repository import REPOSITORY, list_files
from phoenix import RELEASE
from phoenix.cli.app import load_command
from phoenix.cli.embedded.stack import EXTRA_GRACE_S
from phoenix.settings import UNPREFIXED_NAMES, Settings
from phoenix.worker.main import NAMES

CLOUD_RUN = {path.stem: yaml.safe_load(path.read_text()) for path in list_files("deploy/cloud-run/*.yaml")}
RAILWAY = {path.stem: json.loads(path.read_text()) for path in list_files("deploy/railway/*.json")}
PROCFILE = dict(line.split(": ", 1) for line in (REPOSITORY / "Procfile").read_text().splitlines())
KNOWN = set(re.findall(r"^# (PHOENIX_\w+)=", (REPOSITORY / "deploy" / "env.example").read_text(), re.MULTILINE))
STOPPED_AFTER_S = 10
SECRETS = ("DATABASE_URL", "REDIS_URL")


def container_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]["template"]["spec"]
    # A job has executions, and these have tasks.
    (container,) = spec["containers"] if "containers" in spec else spec["template"]["spec"]["containers"]
    return container


def environment_of(name: str) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container_of(CLOUD_RUN[name])["env"]}


COMMANDS = [
    *(shlex.split(line.removeprefix("phoenix ")) for line in PROCFILE.values()),
    *(container_of(manifest)["args"] for manifest in CLOUD_RUN.values()),
    *(shlex.split(each["deploy"]["startCommand"].removeprefix("phoenix ")) for each in RAILWAY.values()),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_would_be_understood(words: list[str]) -> None:
    name, *rest = words
    command = load_command(name)
    while commands := getattr(command, "commands", None):
        command = commands[rest.pop(0)]

    # Parses the options, and calls nothing. Raises if there is no such option or value.
    assert command.make_context(command.name, rest).args == []


def test_the_procfile_has_every_process_and_each_queue() -> None:
    queues = {line.split()[-1] for line in PROCFILE.values() if " worker " in line}

    assert {"release", "web", "background"} < PROCFILE.keys()
    assert queues == set(NAMES) - {"all"}


@pytest.mark.parametrize("name", CLOUD_RUN)
def test_every_variable_of_cloud_run_is_a_setting_and_no_secret_is_written_out(name: str) -> None:
    given = environment_of(name)

    assert given.keys() <= KNOWN | UNPREFIXED_NAMES.keys() | {"HOME"}
    assert {given.get(secret) for secret in SECRETS} == {None}


@pytest.mark.parametrize("name", CLOUD_RUN)
def test_every_image_is_a_target_of_the_dockerfile_and_of_this_release(name: str) -> None:
    targets = re.findall(r"^FROM \S+ AS (\w+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    image, _, tag = container_of(CLOUD_RUN[name])["image"].removeprefix(f"{FILL_IN}/phoenix-").partition(":")

    assert image in targets
    assert tag == RELEASE


def test_on_cloud_run_every_process_has_the_same_bucket_and_needs_no_key_for_it() -> None:
    storage = {
        name: {key: value for key, value in environment_of(name).items() if key.startswith("PHOENIX_STORAGE__")}
        for name in CLOUD_RUN
        # It changes the database alone.
        if name != "migrate"
    }

    assert set(storage) == {"service", "background", "media", "gpu"}
    assert list(storage.values()) == [{"PHOENIX_STORAGE__URL": f"gs://{FILL_IN}/phoenix"}] * len(storage)


def test_on_cloud_run_the_api_may_scale_to_zero_since_a_pool_has_the_background_services() -> None:
    scale = CLOUD_RUN["service"]["spec"]["template"]["metadata"]["annotations"]
    pool = CLOUD_RUN["background"]

    assert (scale["autoscaling.knative.dev/minScale"], environment_of("service")["PHOENIX_API__BACKGROUND"]) == (
        "0",
        "false",
    )
    assert (pool["kind"], container_of(pool)["args"]) == ("WorkerPool", ["background"])
    assert pool["metadata"]["annotations"]["run.googleapis.com/manualInstanceCount"] == "1"


def test_on_cloud_run_the_container_listens_where_requests_and_probes_go() -> None:
    container = container_of(CLOUD_RUN["service"])

    assert container["ports"] == [{"name": "http1", "containerPort": Settings().api.port}]
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/health/live"}


@pytest.mark.parametrize("name", ["gpu", "media"])
def test_on_cloud_run_a_worker_drains_before_it_is_killed(name: str) -> None:
    grace_s = float(environment_of(name)["PHOENIX_WORKER__DRAIN_GRACE_S"] or "inf")

    assert grace_s + EXTRA_GRACE_S < STOPPED_AFTER_S


@pytest.mark.parametrize("name", RAILWAY)
def test_a_service_of_railway_is_built_from_a_file_that_is_there(name: str) -> None:
    config = RAILWAY[name]

    assert (REPOSITORY / config["build"]["dockerfilePath"]).exists()
    assert config["deploy"]["startCommand"] == PROCFILE[name]
    if name == "web":
        assert config["deploy"]["preDeployCommand"] == [PROCFILE["release"]]
        assert config["deploy"]["healthcheckPath"] == "/health/ready"
