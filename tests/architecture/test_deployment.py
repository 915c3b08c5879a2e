"""What the Dockerfile and compose promise; there is no container engine here to try them with."""

import json
import re
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft7Validator

from fixtures.pinned_versions import pins
from fixtures.repository import REPOSITORY, list_files
from phoenix.settings import UNPREFIXED_NAMES, StorageSettings

DEPLOY = REPOSITORY / "deploy"
ENV_EXAMPLE = (DEPLOY / "env.example").read_text()


def read_stages() -> dict[str, list[str]]:
    """The instructions of each stage of the Dockerfile, with those that it inherits first."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line]
    stages: dict[str, list[str]] = {}
    for line in lines:
        if match := re.fullmatch(r"FROM (\S+) AS (\w+)", line):
            current = stages[match[2]] = list(stages.get(match[1], []))
        else:
            current.append(re.sub(r"\s+", " ", line))
    return stages


def read_compose(name: str = "compose.yaml") -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / name).read_text())


STAGES = read_stages()
COMPOSE = read_compose()
FURTHER = ("compose.monitoring.yaml", "compose.s3.yaml", "compose.tls.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
PROCESSES = {name: service for name, service in SERVICES.items() if service["image"] == "phoenix-api"}


@pytest.mark.parametrize("target", ["api", "worker", "runpod"])
def test_an_image_runs_as_a_plain_user(target: str) -> None:
    users = [line for line in STAGES[target] if line.startswith("USER ")]

    assert users == ["USER phoenix"]
    # Nothing is installed once the privileges are gone, so nothing needed them.
    assert all(not line.startswith("RUN") for line in STAGES[target][STAGES[target].index("USER phoenix") :])


def test_the_api_image_has_no_torch() -> None:
    installed = " ".join(line for line in STAGES["api"] if "pip install" in line)
    locked = (REPOSITORY / "requirements" / "api.txt").read_text()

    assert re.findall(r"requirements/(\w+)\.txt", installed) == ["api"]
    assert not re.search(r"^(torch|diffusers|pytest)==", locked, re.MULTILINE)


def test_the_worker_image_has_torch_of_the_tested_version() -> None:
    installed = " ".join(line for line in STAGES["worker"] if "pip install" in line)
    locked = (REPOSITORY / "requirements" / "worker.txt").read_text()

    assert re.findall(r"requirements/(\w+)\.txt", installed) == ["worker"]
    assert f"\ntorch=={pins()['torch']} " in locked


def test_the_runpod_image_is_the_worker_image_with_a_server_of_its_own() -> None:
    built = [line for line in STAGES["worker"] if line.startswith(("ENV ", "RUN "))]
    added = [line for line in STAGES["runpod"] if line not in built and line.startswith("RUN ")]

    assert all(line in STAGES["runpod"] for line in built)
    assert len(added) == 1
    assert "requirements/runpod.txt" in added[0]
    assert STAGES["runpod"][-1] == 'CMD ["runpod"]'


def test_the_api_image_reports_its_health() -> None:
    assert any(line.startswith("HEALTHCHECK") and "/health/live" in line for line in STAGES["api"])


def test_the_build_sees_only_what_it_copies() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for lines in STAGES.values()
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }

    assert copied == allowed
    assert all((REPOSITORY / source).exists() for source in copied)


def test_only_nginx_is_published_and_only_on_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    http, grpc = "${PHOENIX_PUBLISH:-127.0.0.1:8080}:8080", "${FRAMES_GRPC_PUBLISH:-127.0.0.1:8091}:8091"
    assert published == {"nginx": [http, grpc]}


def test_every_process_waits_for_the_migrations() -> None:
    waiting = {name: service["depends_on"] for name, service in PROCESSES.items() if name != "migrate"}

    assert waiting
    for name, depends_on in waiting.items():
        assert depends_on == {"migrate": {"condition": "service_completed_successfully"}}, name


def list_services(*names: str) -> dict[str, dict[str, Any]]:
    """Every service with an image of its own, by file and name. What only changes another file is left out."""
    return {
        f"{name}:{service_name}": service
        for name in names
        for service_name, service in read_compose(name)["services"].items()
        if "image" in service
    }


CONFINED = list_services("compose.yaml", *FURTHER)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml", *FURTHER])
def test_a_compose_file_is_as_the_specification_wants_it(name: str) -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())

    Draft7Validator(schema).validate(read_compose(name))


@pytest.mark.parametrize("name", FURTHER)
def test_a_further_file_changes_only_services_that_are_there(name: str) -> None:
    changed = [key for key, service in read_compose(name)["services"].items() if "image" not in service]

    assert set(changed) <= SERVICES.keys()
    assert "build" not in json.dumps(read_compose(name))


def test_every_mounted_file_is_there() -> None:
    for service in CONFINED.values():
        sources = [volume.split(":")[0] for volume in service.get("volumes", []) if volume.startswith("./")]
        assert [source for source in sources if not (DEPLOY / source).is_file()] == []


def test_the_processes_write_into_the_bucket_that_is_made() -> None:
    compose = read_compose("compose.s3.yaml")
    (made,) = re.findall(r"-name (\w+)", compose["services"]["bucket"]["command"][0])
    (identity,) = json.loads(compose["configs"]["s3_keys"]["content"])["identities"]
    given = {name: service["environment"] for name, service in compose["services"].items() if name in PROCESSES}

    assert given.keys() == PROCESSES.keys() - {"migrate"}
    for environment in given.values():
        storage = {name.removeprefix("PHOENIX_STORAGE__").lower(): value for name, value in environment.items()}
        settings = StorageSettings.model_validate(storage)
        assert urlsplit(settings.url or "").netloc == made
        assert settings.s3_access_key_id == identity["credentials"][0]["accessKey"]
        assert storage["s3_secret_access_key"] == identity["credentials"][0]["secretKey"]


def test_prometheus_reads_each_replica_and_the_documented_rules() -> None:
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    monitoring = (REPOSITORY / "docs" / "operations" / "monitoring.md").read_text()
    (documented,) = re.findall(r"^```yaml\n(groups:\n.*?)^```", monitoring, re.MULTILINE | re.DOTALL)
    mounts = dict(volume.split(":")[:2] for volume in CONFINED["compose.monitoring.yaml:prometheus"]["volumes"])
    (rules,) = [source for source, target in mounts.items() if target == configuration["rule_files"][0]]
    (job,) = configuration["scrape_configs"]

    assert yaml.safe_load((DEPLOY / rules).read_text()) == yaml.safe_load(documented)
    assert job["dns_sd_configs"][0]["names"] == ["api"]


@pytest.mark.parametrize("name", CONFINED)
def test_a_service_may_use_and_do_only_so_much(name: str) -> None:
    service = CONFINED[name]

    assert service["mem_limit"] == service["memswap_limit"]
    assert 0 < service["pids_limit"] <= 4096
    assert service["read_only"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]


def test_only_postgres_becomes_another_user_and_only_the_backup_reads_files_of_others() -> None:
    kept = {name: service["cap_add"] for name, service in CONFINED.items() if "cap_add" in service}

    assert kept == {
        "compose.yaml:postgres": ["CHOWN", "DAC_READ_SEARCH", "FOWNER", "SETGID", "SETUID"],
        "compose.yaml:backup": ["DAC_READ_SEARCH"],
    }


def test_every_image_of_others_is_named_by_its_digest() -> None:
    pinned = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    bases = [image for image in re.findall(r"^FROM (\S+) AS", dockerfile, re.MULTILINE) if image not in STAGES]
    servers = [service["image"] for service in CONFINED.values() if not service["image"].startswith("phoenix-")]
    manifests = [path.read_text() for path in list_files("deploy/kubernetes/try-out/*.yaml")]
    tried_out = [image for text in manifests for image in re.findall(r"image: (\S+)", text)]

    assert [image for image in bases + servers + tried_out if not pinned.fullmatch(image)] == []
    assert len(set(bases)) == 1
    assert set(tried_out) < set(servers)


def test_an_ffmpeg_reaches_its_limit_before_its_container_does() -> None:
    allowed = SERVICES["media"]["environment"]["PHOENIX_MEDIA__MAX_MEMORY_BYTES"]
    default_bytes = int(re.fullmatch(r"\$\{\w+:-(\d+)\}", allowed)[1])
    container_gib = int(re.fullmatch(r"\$\{\w+:-(\d+)g\}", SERVICES["media"]["mem_limit"])[1])

    assert default_bytes < container_gib * 2**30


def test_redis_keeps_what_it_is_given() -> None:
    command = SERVICES["redis"]["command"]

    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_the_database_and_redis_cannot_reach_out() -> None:
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert [SERVICES[name]["networks"] for name in ("postgres", "redis")] == [["data"], ["data"]]


def test_no_secret_has_a_default() -> None:
    text = "".join((DEPLOY / name).read_text() for name in ("compose.yaml", *FURTHER))
    references = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)(.*?)\}", text)

    assert references
    assert all(rest.startswith(":?") for _, rest in references)


def test_every_variable_that_a_process_is_given_is_a_setting() -> None:
    known = set(re.findall(r"^# (PHOENIX_\w+)=", ENV_EXAMPLE, re.MULTILINE)) | UNPREFIXED_NAMES.keys()
    given = {name for service in PROCESSES.values() for name in service["environment"]}

    assert given <= known


def test_the_gpu_override_changes_only_the_gpu_service() -> None:
    override = read_compose("compose.gpu.yaml")
    (device,) = override["services"]["gpu"]["deploy"]["resources"]["reservations"]["devices"]

    assert list(override["services"]) == ["gpu"]
    assert override["services"]["gpu"]["build"]["target"] in STAGES
    assert device["capabilities"] == ["gpu"]
