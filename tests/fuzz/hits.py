"""How often each route was answered with which status, from the server's own metrics. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from fuzz.rules import operations

COUNTED = re.compile(
    r'^phoenix_http_answer_seconds_count\{method="(\w+)",route="([^"]*)",status="(\d+)"\} (\S+)$', re.MULTILINE
)
Hits = Mapping[tuple[str, str, int], int]
"""By method, template of the route, and status."""


def parse_hits(metrics: str) -> Hits:
    found = COUNTED.findall(metrics)
    return {(method, route, int(status)): int(float(count)) for method, route, status, count in found}


def list_unreached(hits: Hits) -> Sequence[str]:
    """The documented operations that were not answered with success, or not with an error."""
    missing: list[str] = []
    for method, path, _ in operations():
        statuses = {status for (verb, route, status) in hits if (verb, route) == (method.upper(), path)}
        if not any(status < 400 for status in statuses):
            missing.append(f"{method.upper()} {path} never succeeded")
        # Nothing can be wrong in a request for the health, but for its method.
        if not any(status >= 400 for status in statuses) and not path.startswith("/health"):
            missing.append(f"{method.upper()} {path} never failed")
    return missing


def format_table(hits: Hits) -> str:
    """Markdown: a row for each documented operation, and one for all the rest."""
    documented = {(method.upper(), path) for method, path, _ in operations()}
    lines = ["| operation | successes | errors |", "|---|---|---|"]
    for method, path in sorted(documented, key=lambda each: (each[1], each[0])):
        counts = Counter(
            {status: count for (verb, route, status), count in hits.items() if (verb, route) == (method, path)}
        )
        lines.append(f"| `{method} {path}` | {_list(counts, range(400))} | {_list(counts, range(400, 600))} |")
    others = Counter[int]()
    for (method, route, status), count in hits.items():
        others[status] += count if (method, route) not in documented else 0
    lines.append(f"| other methods and paths | {_list(others, range(400))} | {_list(others, range(400, 600))} |")
    return "\n".join(lines)


def _list(counts: Counter[int], statuses: Iterable[int]) -> str:
    return ", ".join(f"{status}: {counts[status]}" for status in statuses if counts[status])
