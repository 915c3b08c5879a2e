"""What the manifests of deploy/kubernetes promise; there is no cluster here to try them with."""

import json
import math
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from starlette.routing import Mount

from fixtures.kubernetes import (
    FILL_IN,
    KUBERNETES,
    Manifest,
    containers_of,
    list_kustomizations,
    list_makers,
    list_manifests,
    read_settings_given,
)
from fixtures.repository import REPOSITORY
from phoenix import RELEASE
from phoenix.api.app import create_app
from phoenix.api.health_checks import CHECK_TIMEOUT_S
from phoenix.cli.app import load_command
from phoenix.cli.embedded.stack import EXTRA_GRACE_S
from phoenix.settings import UNPREFIXED_NAMES, Settings, load_settings
from phoenix.worker.child_process import STOP_GRACE_S

# The oldest that some cloud still runs, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")
# Their schemas come with what serves them, and are in no package.
CUSTOM = {"gateway.networking.k8s.io/v1", "keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
NOT_OURS = {"HOME", "NVIDIA_VISIBLE_DEVICES", "POSTGRES_PASSWORD"}

MANIFESTS = list_manifests()
MAKERS = list_makers()
DEPLOYMENTS = {each.name: each for each in MAKERS if each.kind == "Deployment"}
API = DEPLOYMENTS["phoenix-api"]
WORKERS = [each for each in DEPLOYMENTS.values() if each.pod["containers"][0]["args"][0] == "worker"]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def find(kind: str, name: str) -> dict[str, Any]:
    return next(each.body for each in MANIFESTS if (each.kind, each.name) == (kind, name))


@pytest.mark.parametrize("manifest", [each for each in MANIFESTS if each.body["apiVersion"] not in CUSTOM], ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_object_is_as_its_schema_wants_it(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest.body, version, strict=True)


@pytest.mark.parametrize("kustomization", list_kustomizations(), ids=lambda path: path.parent.name)
def test_what_a_kustomization_lists_is_there(kustomization: Path) -> None:
    body = yaml.safe_load(kustomization.read_text())
    named = [*body.get("resources", []), *body.get("components", [])]
    # Of those in comments some are chosen.
    offered = re.findall(r"^# +- (\S+)$", kustomization.read_text(), re.MULTILINE)

    assert [name for name in [*named, *offered] if not (kustomization.parent / name).exists()] == []


def test_every_object_is_listed_once() -> None:
    listed = [
        path
        for kustomization in list_kustomizations()
        for name in yaml.safe_load(kustomization.read_text()).get("resources", [])
        if (path := (kustomization.parent / name).resolve()).is_file()
    ]
    written = {each.path for each in MANIFESTS if each.path.name != "secret.example.yaml"}

    assert sorted(listed) == sorted(written)


def test_a_folder_that_lists_another_is_not_inside_it() -> None:
    """kustomize calls that a cycle."""
    for kustomization in list_kustomizations():
        body = yaml.safe_load(kustomization.read_text())
        for name in [*body.get("resources", []), *body.get("components", [])]:
            assert not kustomization.parent.is_relative_to((kustomization.parent / name).resolve()), kustomization


def test_every_patch_meets_an_object() -> None:
    names = {(each.kind, each.name) for each in MANIFESTS}
    for kustomization in list_kustomizations():
        for patch in yaml.safe_load(kustomization.read_text()).get("patches", []):
            target = patch.get("target") or yaml.safe_load(patch["patch"])
            named = target.get("name") or target.get("metadata", {}).get("name")
            assert any(kind == target["kind"] and named in (None, name) for kind, name in names), patch


def test_every_variable_that_a_pod_is_given_is_a_setting() -> None:
    example = (REPOSITORY / "deploy" / "env.example").read_text()
    known = set(re.findall(r"^# (PHOENIX_\w+)=", example, re.MULTILINE)) | UNPREFIXED_NAMES.keys() | NOT_OURS
    written = {
        each["name"] for maker in MAKERS for container in containers_of(maker) for each in container.get("env", [])
    }

    assert written <= known
    for kustomization in (KUBERNETES, KUBERNETES / "try-out"):
        assert read_settings_given(kustomization / "kustomization.yaml").keys() <= known


def test_what_is_not_filled_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = read_settings_given()
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ValidationError) as refused:
        load_settings()

    wrong = {".".join(map(str, error["loc"])) for error in refused.value.errors()}
    assert wrong == {"database.url", "redis.url", "storage.url"}
    assert sum(value == FILL_IN for value in given.values()) == len(wrong)


def given_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the pods, once everything is filled in."""
    filled = {
        "DATABASE_URL": "postgresql://phoenix:secret@postgres/phoenix",
        "REDIS_URL": "redis://redis:6379/0",
        "PHOENIX_STORAGE__URL": "s3://bucket/phoenix",
    }
    for name, value in (read_settings_given() | filled).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_what_is_filled_in_is_accepted_and_asks_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given_settings(monkeypatch)

    assert settings.is_auth_required
    assert settings.storage.s3_access_key_id is None
    assert not settings.veo.is_configured


def test_no_template_has_a_secret_in_it() -> None:
    for manifest in MANIFESTS:
        if manifest.kind == "Secret":
            secrets = {name: value for name, value in manifest.body["stringData"].items() if name != "REDIS_URL"}
            assert set(secrets.values()) <= {"", FILL_IN}, manifest


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_a_pod_may_do_nothing_that_it_need_not(maker: Manifest) -> None:
    uid = re.search(r"useradd --uid (\d+)", DOCKERFILE)
    assert uid
    security = maker.pod["securityContext"]

    assert security["runAsNonRoot"]
    assert security["runAsUser"] == security["fsGroup"] == int(uid[1])
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert maker.pod["automountServiceAccountToken"] is False
    for container in containers_of(maker):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_has_a_limit_on_memory_and_no_capability() -> None:
    pods = [each.body["spec"]["template"]["spec"] for each in MANIFESTS if "template" in each.body.get("spec", {})]
    containers = [each for pod in pods for each in [*pod.get("initContainers", []), *pod["containers"]]]

    assert {each["image"].partition(":")[0] for each in containers} >= {"postgres", "redis", "phoenix-api"}
    for container in containers:
        assert container["resources"]["limits"]["memory"], container["name"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, container["name"]
        assert container["securityContext"]["readOnlyRootFilesystem"], container["name"]


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_no_service_becomes_a_variable_that_looks_like_a_setting(maker: Manifest) -> None:
    assert maker.pod["enableServiceLinks"] is False


@pytest.mark.parametrize("maker", DEPLOYMENTS.values(), ids=str)
def test_somebody_reaps_what_a_killed_process_leaves_behind(maker: Manifest) -> None:
    assert maker.pod["shareProcessNamespace"]


@pytest.mark.parametrize("maker", MAKERS, ids=str)
def test_what_a_process_writes_to_is_a_volume(maker: Manifest) -> None:
    needed = {"/tmp", "/data"} if maker.kind == "Deployment" else {"/tmp", "/models"}
    volumes = {volume["name"] for volume in maker.pod["volumes"]}

    for container in containers_of(maker):
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert needed <= {path for path, mount in mounts.items() if not mount.get("readOnly")}
        assert {mount["name"] for mount in mounts.values()} <= volumes


@pytest.mark.parametrize("maker", DEPLOYMENTS.values(), ids=str)
def test_every_pod_has_the_tables_of_its_own_version_first(maker: Manifest) -> None:
    (container,) = maker.pod["containers"]
    (first,) = maker.pod["initContainers"]

    assert (first["args"], first["image"]) == (["db", "upgrade"], container["image"])
    assert first["envFrom"] == container["envFrom"]


def test_every_image_is_a_target_of_the_dockerfile_and_of_this_release() -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE))
    images = {container["image"] for maker in MAKERS for container in containers_of(maker)}
    images |= set(
        re.findall(r"image: (phoenix-\S+)", (KUBERNETES / "components/no-gpu/kustomization.yaml").read_text())
    )

    assert {image.partition(":")[2] for image in images} == {RELEASE}
    assert {image.removeprefix("phoenix-").partition(":")[0] for image in images} <= targets
    for kustomization in (KUBERNETES, KUBERNETES / "fetch-models"):
        renamed = yaml.safe_load((kustomization / "kustomization.yaml").read_text())["images"]
        assert {each["newTag"] for each in renamed} == {RELEASE}


@pytest.mark.parametrize("maker", DEPLOYMENTS.values(), ids=str)
def test_every_command_would_be_understood(maker: Manifest) -> None:
    for container in containers_of(maker):
        assert "command" not in container
        name, *words = container["args"]
        command = load_command(name)
        while commands := getattr(command, "commands", None):
            command = commands[words.pop(0)]
        # Parses the options, and calls nothing. Raises if there is no such option or value.
        assert command.make_context(command.name, words).args == []


def test_each_queue_has_its_workers() -> None:
    assert [each.pod["containers"][0]["args"][-1] for each in WORKERS] == ["gpu", "media", "remote"]


def test_every_probe_asks_for_a_route_that_is_there() -> None:
    (container,) = API.pod["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    args = container["args"]

    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    assert set(paths.values()) <= create_app(Settings()).openapi()["paths"].keys()
    assert {container[name]["httpGet"]["port"] for name in paths} == {"http"}
    assert str(ports["http"]) == args[args.index("--port") + 1]


def test_the_readiness_probe_waits_longer_than_its_checks() -> None:
    assert API.pod["containers"][0]["readinessProbe"]["timeoutSeconds"] > CHECK_TIMEOUT_S


def test_a_replica_is_given_the_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    command, pause_s = API.pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    needed_s = int(pause_s) + math.ceil(given_settings(monkeypatch).api.shutdown_grace_s) + EXTRA_GRACE_S

    assert command == "sleep"
    assert API.pod["terminationGracePeriodSeconds"] >= needed_s


@pytest.mark.parametrize("worker", WORKERS, ids=str)
def test_a_worker_is_given_the_time_to_drain_and_to_hand_back(
    worker: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = given_settings(monkeypatch)
    # Once its child is killed, a supervisor may hand back for as long as the lease lasts.
    needed_s = settings.worker.drain_grace_s + STOP_GRACE_S + EXTRA_GRACE_S + settings.scheduler.lease_s

    assert worker.pod["terminationGracePeriodSeconds"] >= needed_s


def test_no_replica_ends_before_its_successor_is_ready() -> None:
    assert API.body["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert API.body["spec"]["replicas"] >= 2


def test_a_gpu_worker_has_one_gpu_and_only_reads_the_weights() -> None:
    pod = DEPLOYMENTS["phoenix-gpu"].pod
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}

    assert container["image"].startswith("phoenix-worker:")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert mounts["/models"]["readOnly"]
    assert DEPLOYMENTS["phoenix-gpu"].body["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


@pytest.mark.parametrize("maker", DEPLOYMENTS.values(), ids=str)
def test_a_deployment_selects_its_own_pods(maker: Manifest) -> None:
    spec = maker.body["spec"]

    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"] == maker.body["metadata"]["labels"]
    assert maker.name == f"phoenix-{spec['template']['metadata']['labels']['app.kubernetes.io/component']}"


def test_whatever_reaches_the_replicas_selects_them() -> None:
    labels = API.body["spec"]["template"]["metadata"]["labels"]

    assert find("Service", "phoenix-api")["spec"]["selector"] == labels
    assert find("PodDisruptionBudget", "phoenix-api")["spec"]["selector"]["matchLabels"] == labels
    assert find("PodMonitor", "phoenix-api")["spec"]["selector"]["matchLabels"] == labels


def test_the_ingress_lets_everything_through_but_the_metrics() -> None:
    (rule,) = find("Ingress", "phoenix")["spec"]["rules"]
    paths = {(each["path"], each["pathType"]) for each in rule["http"]["paths"]}
    backends = [each["backend"]["service"] for each in rule["http"]["paths"]]

    assert {route for route in routes() if not is_let_through(route, paths)} == {"/metrics"}
    assert all(each == {"name": "phoenix-api", "port": {"name": "http"}} for each in backends)


def is_let_through(route: str, paths: set[tuple[str, str]]) -> bool:
    return any(route == path or (kind == "Prefix" and route.startswith(f"{path}/")) for path, kind in paths)


def test_the_route_of_a_gateway_lets_through_what_the_ingress_does() -> None:
    (ingress,) = find("Ingress", "phoenix")["spec"]["rules"]
    (rule,) = find("HTTPRoute", "phoenix")["spec"]["rules"]
    (port,) = find("Service", "phoenix-api")["spec"]["ports"]
    paths = {(each["path"]["value"], each["path"]["type"].removeprefix("Path")) for each in rule["matches"]}

    assert paths == {(each["path"], each["pathType"]) for each in ingress["http"]["paths"]}
    assert rule["backendRefs"] == [{"name": "phoenix-api", "port": port["port"]}]


def routes() -> set[str]:
    application = create_app(Settings())
    mounts = {route.path for route in application.routes if isinstance(route, Mount)}
    return {each.path for each in iter_route_contexts(application.routes) if each.path} | mounts


def test_the_ingress_says_what_the_nginx_that_is_tested_says() -> None:
    annotations = find("Ingress", "phoenix")["metadata"]["annotations"]
    configured = {name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in annotations.items()}
    template = (REPOSITORY / "deploy" / "nginx.conf.template").read_text()
    compose = (REPOSITORY / "deploy" / "compose.yaml").read_text()

    for name in ("connect-timeout", "read-timeout", "next-upstream", "next-upstream-tries", "next-upstream-timeout"):
        templated = re.search(rf"proxy_{name.replace('-', '_')} (.+?)s?;", template)
        assert templated, name
        assert configured[f"proxy-{name}"] == templated[1], name
    assert configured["proxy-buffering"] == configured["proxy-request-buffering"] == "off"
    assert f"NGINX_MAX_BODY:-{configured['proxy-body-size']}" in compose
    assert f"NGINX_PER_CLIENT:-{configured['limit-connections']}" in compose
    # The access log would have the query in it.
    assert configured["enable-access-log"] == "false"


def test_the_body_limit_is_above_that_of_uploads() -> None:
    annotations = find("Ingress", "phoenix")["metadata"]["annotations"]
    largest = annotations["nginx.ingress.kubernetes.io/proxy-body-size"]

    assert int(largest.removesuffix("m")) * 2**20 > Settings().limits.max_upload_bytes


def test_the_alerts_are_those_of_the_documents() -> None:
    monitoring = (REPOSITORY / "docs" / "operations" / "monitoring.md").read_text()
    (documented,) = re.findall(r"^```yaml\n(groups:\n.*?)^```", monitoring, re.MULTILINE | re.DOTALL)

    assert find("PrometheusRule", "phoenix")["spec"] == yaml.safe_load(documented)


def test_keda_scales_a_deployment_whose_replicas_nobody_else_sets() -> None:
    scaled = find("ScaledObject", "phoenix-gpu")["spec"]["scaleTargetRef"]["name"]
    component = yaml.safe_load((KUBERNETES / "components" / "keda" / "kustomization.yaml").read_text())
    fleet = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    (patch,) = component["patches"]

    assert scaled in DEPLOYMENTS
    assert patch["target"] == {"kind": "Deployment", "name": scaled}
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
    # kustomize applies `replicas` after the components.
    assert scaled not in json.dumps(fleet["replicas"])
