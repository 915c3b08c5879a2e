"""A seeded schedule of faults, beside a seeded workload, on a running cluster. Judges nothing: see `checker`."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from faults.checker import Finding, check_edits, check_ended, files_without_rows
from faults.cluster import TINY, Cluster, Member
from faults.history import History
from phoenix.jobs.lifecycle import AttemptEndState, TaskKind

SUBMIT_EVERY_S = 1.1
RESTART_AFTER_S = 1.0
"""A host that was lost is replaced, as whoever runs the fleet would."""


@dataclass
class Report:
    """What one run did, and what the checker found."""

    seed: int
    owners: dict[str, str] = field(default_factory=dict[str, str])
    """The API key with which each job was submitted, by the job's id."""
    faults: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    """Submits that got no 202, by the reason. They may have been accepted all the same: the answer was lost."""
    findings: list[Finding] = field(default_factory=list[Finding])
    ended_in_s: float = 0.0
    edits: int = 0
    """How many of the jobs are edits."""
    held: int = 0
    """How many of the jobs waited for the approval of a draft."""
    segments: int = 0
    """How many clips were cut for a player, because someone watched."""
    states: Counter[str] = field(default_factory=Counter[str])
    recoveries_s: list[float] = field(default_factory=list[float])
    """From the end of an attempt whose worker was lost to the start of the next one."""
    stray_files: int = 0

    @property
    def accepted(self) -> frozenset[str]:
        """Ids of the jobs that were answered with 202."""
        return frozenset(self.owners)


def make_clips(count: int) -> list[Mapping[str, object]]:
    """So many clips. Of three clips, each continues the clip before it; of two, the first one has two takes."""
    previous = [{"role": "first_frame", "source": {"previous_clip": True}}]
    clips: list[Mapping[str, object]] = [{"prompt": f"clip {number}"} for number in range(count)]
    if count == 2:
        return [{**clips[0], "takes": 2}, clips[1]]
    return [clips[0], *({**clip, "conditions": previous} for clip in clips[1:])] if count == 3 else clips


def narrate(body: Mapping[str, object], text: str) -> Mapping[str, object]:
    """The reel with a narrated last clip, which holds its last frame until the speech has ended."""
    clips = body["clips"]
    assert isinstance(clips, list)
    return {**body, "clips": [*clips[:-1], {**clips[-1], "narration": text}], "fit_narration": True}


class Chaos:
    """Everything that happens is drawn from the seed; when exactly it happens depends on the machine."""

    def __init__(
        self, cluster: Cluster, seed: int, *, sounds: Mapping[str, str], fault_every_s: tuple[float, float]
    ) -> None:
        self.cluster = cluster
        self.report = Report(seed)
        self._random = random.Random(seed)
        self._sounds = sounds
        self._fault_every_s = fault_every_s
        self._later: list[tuple[float, Callable[[], object]]] = []
        # How often, compared with the others, and what; that says whether it could be done.
        self._faults: Mapping[str, tuple[int, Callable[[], bool]]] = {
            "kill worker": (3, self._kill_child),
            "lose host": (2, self._lose_host),
            "freeze worker": (3, self._freeze_worker),
            "roll worker": (2, self._roll),
            "kill replica": (1, self._kill_api),
            "flush redis": (1, self._flush),
            "restart redis": (1, self._restart_redis),
            "redis down": (1, self._take_redis_down),
            "cut connections": (2, self._cut),
            "freeze connections": (1, self._freeze_connections),
            **({"pull a cable": (2, self._pull_cable)} if cluster.network else {}),
            "restart postgres": (1, self._restart_postgres),
            "freeze postgres": (1, self._freeze_postgres),
        }

    def run(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        next_fault_s, next_submit_s = time.monotonic() + 1, time.monotonic()
        while (now_s := time.monotonic()) < end_s:
            if now_s >= next_submit_s:
                if not self._edit():
                    self._submit()
                self._watch()
                next_submit_s = now_s + SUBMIT_EVERY_S
            if now_s >= next_fault_s:
                self._break_something()
                next_fault_s = now_s + self._random.uniform(*self._fault_every_s)
            self._do_what_is_due(now_s)
            self._replace_the_lost()
            time.sleep(0.05)
        self._do_what_is_due(float("inf"))

    def _do_what_is_due(self, now_s: float) -> None:
        due = [act for at_s, act in self._later if at_s <= now_s]
        self._later = [(at_s, act) for at_s, act in self._later if at_s > now_s]
        for act in due:
            act()

    def _after(self, delay_s: float, act: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + delay_s, act))

    def _replace_the_lost(self) -> None:
        for member in self.cluster.members:
            if not member.is_running:
                member.start()

    def _submit(self) -> None:
        owner = self._random.choice(self.cluster.owners)
        body: Mapping[str, object] = {
            **TINY,
            "clips": make_clips(self._random.randint(1, 3)),
            "steps": self._random.randint(3, 12),
            "priority": self._random.choice(["low", "normal", "high"]),
            **({"soundtrack": {"artifact_id": self._sounds[owner]}} if self._random.random() < 0.1 else {}),
            **({"hold": "draft"} if self._random.random() < 0.2 else {}),
        }
        if self._random.random() < 0.25:
            body = narrate(body, self._random.choice(["Go.", "Stop.", "Look."]))
        cancel_after_s = self._random.uniform(0, 4) if self._random.random() < 0.15 else None
        answer = self._post("/v1/reels", body, owner)
        if answer is None:
            return
        if answer.status_code != 202:
            self.report.refused[str(answer.status_code)] += 1
            return
        job_id = answer.json()["id"]
        self.report.owners[job_id] = owner
        if "hold" in body:
            self.report.held += 1
            self._after(self._random.uniform(1, 6), lambda: self._approve(job_id, owner))
        if cancel_after_s is not None:
            self._after(cancel_after_s, lambda: self._post(f"/v1/jobs/{job_id}/cancel", {}, owner))
            self._after(cancel_after_s + 4, lambda: self._post(f"/v1/jobs/{job_id}/retry", {}, owner))

    def _approve(self, job_id: str, owner: str) -> None:
        """Twice, by any replica: the second approval changes nothing."""
        for _ in range(2):
            self._post(f"/v1/jobs/{job_id}/approve", {}, owner)

    def approve_what_waits(self) -> None:
        """What nobody has approved during the faults, or whose approval was lost with them."""
        for owner in self.cluster.owners:
            with suppress(httpx.HTTPError):
                url = f"{self.cluster.url()}/v1/jobs?state=held"
                for job in self.cluster.http.get(url, headers=bearer(owner)).json().get("data", []):
                    if job["waiting_reason"]["code"] == "AWAITING_APPROVAL":
                        self._post(f"/v1/jobs/{job['id']}/approve", {}, owner)

    def _watch(self) -> None:
        """Asks for the playlist of a job, which has its segments made."""
        if not self.report.owners or self._random.random() >= 0.4:
            return
        job_id, owner = self._random.choice(list(self.report.owners.items())[-6:])
        url = self.cluster.url(self._random.randrange(len(self.cluster.apis)))
        with suppress(httpx.HTTPError):
            self.cluster.http.get(f"{url}/v1/jobs/{job_id}/playlist.m3u8", headers=bearer(owner), timeout=4)

    def _edit(self) -> bool:
        """Edits a job that was accepted, now and then. One that has not ended is refused."""
        if not self.report.owners or self._random.random() >= 0.25:
            return False
        self._edit_job(*self._random.choice(list(self.report.owners.items())))
        return True

    def edit_some(self) -> None:
        """Edits the first jobs, which have ended by then."""
        for original, owner in list(self.report.owners.items())[:3]:
            self._edit_job(original, owner)

    def _edit_job(self, original: str, owner: str) -> None:
        replaced = {"op": "replace", "index": 0, "clip": {"prompt": f"new {len(self.report.owners)}"}}
        body = {"clips": [self._random.choice([{"op": "reroll", "index": 0}, replaced])], "title": "edited"}
        answer = self._post(f"/v1/jobs/{original}/edits", body, owner)
        if answer is not None and answer.status_code == 202:
            self.report.owners[answer.json()["id"]] = owner
            self.report.edits += 1
        elif answer is not None:
            self.report.refused[f"edit {answer.status_code}"] += 1

    def _post(self, path: str, body: Mapping[str, object], owner: str) -> httpx.Response | None:
        """By a replica drawn at random. None if no answer came: whether it was heard is not known."""
        url = self.cluster.url(self._random.randrange(len(self.cluster.apis)))
        try:
            return self.cluster.http.post(url + path, json=body, headers=bearer(owner), timeout=4)
        except httpx.HTTPError as error:
            self.report.refused[type(error).__name__] += 1
            return None

    def _break_something(self) -> None:
        names = list(self._faults)
        (name,) = self._random.choices(names, [weight for weight, _ in self._faults.values()])
        if self._faults[name][1]():
            self.report.faults[name] += 1

    def _worker(self) -> Member:
        return self._random.choice(self.cluster.workers)

    def _kill_child(self) -> bool:
        return self._worker().kill_child() is not None

    def _lose_host(self) -> bool:
        self._worker().kill()
        return True

    def _freeze_worker(self) -> bool:
        worker, for_s = self._worker(), self._random.uniform(1, 7)
        if worker.is_frozen:
            return False
        worker.freeze()
        self._after(for_s, worker.thaw)
        return True

    def _roll(self) -> bool:
        worker = self._worker()
        if worker.is_frozen or not worker.is_running:
            return False
        worker.terminate()
        return True

    def _kill_api(self) -> bool:
        self._random.choice(self.cluster.apis).kill()
        return True

    def _flush(self) -> bool:
        self.cluster.flush_redis()
        return True

    def _restart_redis(self) -> bool:
        if not self.cluster.redis.is_running:
            return False
        self.cluster.redis.restart()
        return True

    def _take_redis_down(self) -> bool:
        down_s = self._random.uniform(2, 6)
        if not self.cluster.redis.is_running:
            return False
        self.cluster.redis.kill()
        self._after(down_s, self.cluster.redis.start)
        return True

    def _proxy(self) -> str:
        return self._random.choice(sorted(self.cluster.proxies))

    def _cut(self) -> bool:
        self.cluster.proxies[self._proxy()].cut()
        return True

    def _freeze_connections(self) -> bool:
        proxy, for_s = self.cluster.proxies[self._proxy()], self._random.uniform(1, 5)
        proxy.freeze()
        self._after(for_s, proxy.heal)
        return True

    def _pull_cable(self) -> bool:
        host, for_s = self._worker().host, self._random.uniform(1, 7)
        if host is None:
            return False
        host.pull_cable()
        self._after(for_s, host.plug_in)
        return True

    def _restart_postgres(self) -> bool:
        self.cluster.postgres.crash()
        self.cluster.postgres.ensure_running()
        return True

    def _freeze_postgres(self) -> bool:
        for_s = self._random.uniform(2, 5)
        self.cluster.postgres.freeze()
        # Nothing else can be told from a database that is frozen, so the rest waits as well.
        time.sleep(for_s)
        self.cluster.postgres.thaw()
        return True


def run_chaos(
    cluster: Cluster,
    seed: int,
    *,
    duration_s: float,
    sounds: Mapping[str, str],
    end_within_s: float = 120,
    fault_every_s: tuple[float, float] = (0.6, 2.0),
) -> Report:
    """One seeded run on a cluster that is ready, from the first submit to the verdict."""
    chaos = Chaos(cluster, seed, sounds=sounds, fault_every_s=fault_every_s)
    chaos.run(duration_s)
    cluster.heal()
    report = chaos.report
    report.ended_in_s = cluster.wait_until_all_ended(end_within_s, meanwhile=chaos.approve_what_waits)
    chaos.edit_some()
    cluster.wait_until_all_ended(end_within_s, meanwhile=chaos.approve_what_waits)
    history = cluster.history(report.accepted)
    report.findings = [*check_ended(history), *check_edits(history), *check_owners(cluster, report.owners)]
    report.states = Counter(job.state.value for job in history.jobs if job.id in report.accepted)
    report.segments = sum(task.kind is TaskKind.SEGMENT and bool(task.artifact_id) for task in history.tasks)
    report.recoveries_s = recoveries_s(history, report.accepted)
    report.stray_files = len(files_without_rows(history))
    return report


def recoveries_s(history: History, accepted: frozenset[str]) -> list[float]:
    task_ids = {task.id for task in history.tasks if task.job_id in accepted}
    attempts = {(attempt.task_id, attempt.number): attempt for attempt in history.attempts}
    return sorted(
        (following.started_at - attempt.ended_at).total_seconds()
        for (task_id, number), attempt in attempts.items()
        if task_id in task_ids and attempt.outcome is AttemptEndState.CRASHED and attempt.ended_at
        if (following := attempts.get((task_id, number + 1)))
    )


def check_owners(cluster: Cluster, owners: Mapping[str, str]) -> list[Finding]:
    """Each job is there for the key that submitted it, and for no other."""
    findings: list[Finding] = []
    for job_id, owner in owners.items():
        for caller in cluster.owners:
            answer = cluster.ask("GET", f"/v1/jobs/{job_id}", headers=bearer(caller))
            if answer.status_code != (200 if caller == owner else 404):
                whose = "its owner" if caller == owner else "another key"
                findings.append(Finding("only its owner sees it", job_id, f"{answer.status_code} for {whose}"))
    return findings


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def upload_sounds(cluster: Cluster, path: Path) -> Mapping[str, str]:
    """The artifact's id for each owner: nobody may use what another has uploaded."""
    return {owner: _upload(cluster, path, owner) for owner in cluster.owners}


def _upload(cluster: Cluster, path: Path, owner: str) -> str:
    files = {"file": (path.name, path.read_bytes(), "audio/wav")}
    answer = cluster.ask("POST", "/v1/uploads", files=files, headers=bearer(owner))
    return answer.raise_for_status().json()["id"]
