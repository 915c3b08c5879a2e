"""A short fuzz of one server from fixed seeds: by the document, and by callers that remember. `make fuzz` is longer."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from fixtures.databases import copied_database
from fixtures.redis_server import RedisServer
from fuzz.aftermath import read_log_faults, read_row_faults
from fuzz.document import run_document
from fuzz.server import FuzzedServer, run_server
from fuzz.stateful import make_caller, run_stateful
from phoenix.services import open_services

CASES = 150
EXAMPLES = 3


@pytest.fixture(scope="module")
def server(
    postgres_server: URL, postgres_template: str, redis_process: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FuzzedServer]:
    redis_process.make_ready()
    folder = tmp_path_factory.mktemp("fuzz")
    with (
        copied_database(postgres_server, postgres_template) as url,
        run_server(folder, url, redis_process.url) as running,
    ):
        yield running


@pytest.mark.timeout(1200)
async def test_the_server_does_what_the_document_says(
    server: FuzzedServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with open_services(server.settings) as services:
        keys = {name: (await make_caller(services, name)).key for name in ("one", "other")}

    folder = tmp_path_factory.mktemp("document")
    run = run_document(server.url, keys, folder, examples=EXAMPLES, each_body_once=True)

    assert run.has_passed, run.output[-6000:]
    # A run that tried next to nothing proves nothing.
    assert run.cases > 1000


@pytest.mark.timeout(1200)
async def test_no_caller_breaks_the_server_or_sees_what_is_another_callers(
    server: FuzzedServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with open_services(server.settings) as services:
        run = await run_stateful(services, server.url, tmp_path_factory.mktemp("stateful"), seed=1, cases=CASES)

        assert [str(fault) for fault in run.faults] == []
        assert [str(fault) for fault in read_log_faults(server.log, run)] == []
        assert [str(fault) for fault in await read_row_faults(services.database, run)] == []
    assert run.cases == CASES
    assert len(run.accepted) > CASES / 20
