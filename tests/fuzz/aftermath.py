"""What a run leaves behind: the lines of the log, the rows of the database, and its memory."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from faults.checker import check_always
from faults.history import read_history
from fuzz.exchanges import CANARY, ID, Exchange, Fault, OwnerOf
from fuzz.stateful import StatefulRun
from phoenix.db import Database

MAX_GROWTH_BYTES = 100_000_000
"""By which a server may grow after its first requests, however many follow. What it keeps per request has a bound: the
request ids of open streams, the states of the rate limits and the metrics of each route, status and bucket."""


def read_log_faults(log: Path, run: StatefulRun) -> Iterator[Fault]:
    for line in log.read_text(errors="replace").splitlines():
        yield from judge_line(line, run.exchanges, run.ownership.owner_of, run.secrets)


def judge_line(
    line: str, exchanges: Mapping[str, Exchange], owner_of: OwnerOf, secrets: Mapping[str, str]
) -> Iterator[Fault]:
    """A line may name ids: of its own caller, or those that the path of the request had."""
    parsed = parse_line(line)
    if parsed.get("level") in ("error", "critical") or "exception" in parsed or not parsed:
        yield Fault("no exception in the log", line[:2000])
    for secret, kind in secrets.items():
        if secret in line:
            yield Fault("no secret in the log", line[:500], kind)
    exchange = exchanges.get(str(parsed.get("request_id")))
    asked = exchange.path if exchange else ""
    for canary in set(CANARY.findall(line)):
        if canary not in asked:
            yield Fault("no text of a caller in the log", line[:500], canary)
    for token in set(ID.findall(line)) if exchange else ():
        if owner_of(token) not in (None, exchange.caller) and token not in asked:
            yield Fault("no id of another caller in a line", line[:500], token)


def parse_line(line: str) -> Mapping[str, object]:
    """The fields of a line; none if it is not ours, as a traceback that was printed."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


async def read_row_faults(database: Database, run: StatefulRun) -> list[Fault]:
    """The promises that hold at every moment: see `faults.checker`."""
    history = await read_history(database, frozenset(run.accepted))
    return [Fault(finding.rule, finding.subject, finding.detail) for finding in check_always(history)]
