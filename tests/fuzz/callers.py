"""Who calls: several keys, each with a canary in every text that it sends, and what each of them has made."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from phoenix.access.keys import ids_of


@dataclass
class Caller:
    """The holder of one key. What it owns is learned from responses, in their order."""

    name: str
    key: str
    canary: str
    is_admin: bool = False
    is_revoked: bool = False
    jobs: list[str] = field(default_factory=list[str])
    artifacts: list[str] = field(default_factory=list[str])
    deliveries: list[str] = field(default_factory=list[str])
    storyboards: list[str] = field(default_factory=list[str])
    tokens: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Each stream token, with the job that it opens."""
    etags: dict[str, str] = field(default_factory=dict[str, str])
    cursors: list[str] = field(default_factory=list[str])

    @property
    def owner_id(self) -> str:
        return ids_of(self.key)[0]

    def forget(self, resource_id: str) -> None:
        for owned in (self.jobs, self.artifacts, self.deliveries, self.storyboards):
            if resource_id in owned:
                owned.remove(resource_id)


def new_canary() -> str:
    """A word that nothing else has in it, and that survives in a path, a header, a file name and JSON."""
    return f"canary{secrets.token_hex(8)}"


@dataclass
class Callers:
    """Those who call now, and those whose keys were revoked."""

    active: list[Caller]
    revoked: list[Caller] = field(default_factory=list[Caller])

    @property
    def everyone(self) -> Sequence[Caller]:
        return [*self.active, *self.revoked]

    def others(self, caller: Caller) -> Iterator[Caller]:
        return (other for other in self.everyone if other is not caller)

    def replace(self, caller: Caller, successor: Caller) -> None:
        """The caller's key was revoked; another key takes its place."""
        caller.is_revoked = True
        self.active[self.active.index(caller)] = successor
        self.revoked.append(caller)
