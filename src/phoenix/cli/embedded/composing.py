"""The settings that `up` gives its children: the operator's, completed with what fits one machine."""

from typing import Any, TypeVar

from phoenix.settings import Group, Settings

# Unfinished work is handed back and done again, so a short grace period costs nothing but time.
DRAIN_GRACE_S = 3.0

G = TypeVar("G", bound=Group)


def compose(settings: Settings, *, redis_url: str, host: str, port: int, is_terminal: bool) -> Settings:
    """Completes the settings. Leaves what the operator has set alone; makes paths absolute."""
    log: dict[str, Any] = {"json_lines": False} if is_terminal else {}
    return settings.model_copy(
        update={
            "data_dir": settings.data_dir.absolute(),
            "redis": settings.redis.model_copy(update={"url": redis_url}),
            "api": settings.api.model_copy(update={"host": host, "port": port}),
            "worker": _complete(settings.worker, drain_grace_s=DRAIN_GRACE_S),
            "log": _complete(settings.log, **log),
        }
    )


def _complete(group: G, **values: Any) -> G:
    """`group` with those of `values` that are not set explicitly."""
    unset = {name: value for name, value in values.items() if name not in group.model_fields_set}
    return group.model_copy(update=unset)
