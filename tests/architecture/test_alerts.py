"""Each alert rule fires for what it warns of, and not for a healthy fleet."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import yaml

from fixtures.kubernetes import KUBERNETES
from fixtures.promql import Series, evaluate

RULES = {
    rule["alert"]: rule["expr"]
    for rule in yaml.safe_load((KUBERNETES / "components" / "prometheus" / "alerts.yaml").read_text())["spec"][
        "groups"
    ][0]["rules"]
}
SAMPLES = 241
"""An hour of samples."""


@dataclass(frozen=True)
class Case:
    """Series for which a rule must fire, and similar series for which it must not."""

    firing: Sequence[Series]
    quiet: Sequence[Series]


def flat(name: str, value: float, **labels: str) -> Series:
    return Series(name, labels, [value] * SAMPLES)


def rising(name: str, per_sample: float, **labels: str) -> Series:
    return Series(name, labels, [per_sample * number for number in range(SAMPLES)])


def waits(seconds: float) -> list[Series]:
    """A histogram of one replica in which each task waits as long."""
    bounds = (1.0, 8.0, 16.0, 64.0)
    counts = {str(bound): float(seconds <= bound) for bound in bounds} | {"+Inf": 1.0}
    labels = {"queue": "gpu", "model": "wan"}
    return [rising("phoenix_task_wait_seconds_bucket", counts[le], le=le, **labels) for le in counts]


def answers(seconds: float) -> list[Series]:
    counts = {"1.0": seconds <= 1, "10.0": seconds <= 10, "30.0": seconds <= 30, "+Inf": True}
    return [rising("phoenix_http_answer_seconds_bucket", float(count), le=le) for le, count in counts.items()]


def ended(failed: float, succeeded: float, *replicas: str) -> list[Series]:
    """Two replicas report the same counters, which must not count twice."""
    return [
        rising("phoenix_jobs_ended_total", each, state=state, code=code, instance=replica)
        for replica in replicas or ("a", "b")
        for state, code, each in (("failed", "GPU_OOM", failed), ("succeeded", "none", succeeded))
    ]


def memory(kind: str, used: float, **labels: str) -> list[Series]:
    total = "total" if kind == "device" else "budget"
    return [
        flat(f"phoenix_{kind}_memory_used_bytes", used, worker="w", host="h", **labels),
        flat(f"phoenix_{kind}_memory_{total}_bytes", 100, worker="w", host="h", **labels),
    ]


def disks(free: float) -> list[Series]:
    return [flat("phoenix_disk_free_bytes", free, disk="storage"), flat("phoenix_disk_reserve_bytes", 10)]


def statuses(errors: float) -> list[Series]:
    name = "phoenix_http_answer_seconds_count"
    return [rising(name, errors, status="500"), rising(name, 100, status="200")]


def waiting(count: float, rise: float) -> list[Series]:
    values = [count + rise * number for number in range(SAMPLES)]
    return [Series("phoenix_tasks", {"queue": "gpu", "state": "waiting"}, values)]


CASES = {
    "PhoenixTasksHaveNoWorker": Case(
        [flat("phoenix_unserved_tasks", 1, queue="gpu", model="wan")],
        [flat("phoenix_unserved_tasks", 0, queue="gpu", model="wan")],
    ),
    "PhoenixWorkerIsUnfit": Case(
        [flat("phoenix_worker_states", 1, queue="gpu", state="unfit")],
        [flat("phoenix_worker_states", 1, queue="gpu", state="idle")],
    ),
    "PhoenixQueueIsSlow": Case(
        [flat("phoenix_queue_oldest_wait_seconds", 901, queue="gpu")],
        [flat("phoenix_queue_oldest_wait_seconds", 899, queue="gpu")],
    ),
    "PhoenixTasksWaitLong": Case(waits(12), waits(5)),
    "PhoenixBacklogRises": Case(waiting(20, 0.1), waiting(20, 0)),
    "PhoenixPauseIsForgotten": Case([Series("phoenix_paused", {"kind": "queue", "name": "gpu"}, [1] * SAMPLES)], []),
    "PhoenixJobsFail": Case(ended(0.02, 1), ended(0.009, 1)),
    "PhoenixDeviceMemoryIsFull": Case(memory("device", 91, device="cuda:0"), memory("device", 90, device="cuda:0")),
    "PhoenixHostMemoryIsFull": Case(memory("host", 91), memory("host", 90)),
    "PhoenixDatabaseIsAway": Case([flat("phoenix_database_up", 0)], [flat("phoenix_database_up", 1)]),
    "PhoenixDiskFillsUp": Case(disks(39), disks(41)),
    "PhoenixAnswersErrors": Case(statuses(2), statuses(1)),
    "PhoenixAnswersLate": Case(answers(20), answers(2)),
}


def test_every_rule_has_a_case() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_fires_for_what_it_warns_of(alert: str) -> None:
    assert evaluate(RULES[alert], CASES[alert].firing)


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_is_quiet_for_a_healthy_fleet(alert: str) -> None:
    assert evaluate(RULES[alert], CASES[alert].quiet) == {}


@pytest.mark.parametrize("alert", RULES)
def test_a_rule_is_quiet_without_series(alert: str) -> None:
    assert evaluate(RULES[alert], []) == {}
