"""The PostgreSQL of a cluster: its own, so that it may be killed in the middle of anything."""

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager, suppress

import psutil
from sqlalchemy.engine import URL

from faults.proxy import Connection
from fixtures.databases import async_url
from fixtures.postgres_server import PostgresServer, run_postgres
from phoenix.db.migrate import upgrade


class PrivatePostgres:
    """Listens on a unix socket; the cluster's processes reach it through proxies."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url: URL = server.url
        self.async_url = async_url(self.url)

    @classmethod
    @contextmanager
    def running(cls) -> "Generator[PrivatePostgres]":
        """Started, with the newest schema."""
        with run_postgres() as server:
            postgres = cls(server)
            upgrade(postgres.async_url)
            yield postgres

    def tcp_url(self, address: str, port: int) -> str:
        """As seen through a proxy there."""
        plain = URL.create("postgresql", self.url.username, self.url.password, address, port, self.url.database)
        return plain.render_as_string(hide_password=False)

    async def connect(self) -> Connection:
        folder = self.url.query["host"]
        assert isinstance(folder, str)
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

    def crash(self) -> None:
        """As a power cut: no checkpoint, every connection gone. `ensure_running` starts it again."""
        self._server.crash()

    def ensure_running(self) -> None:
        if not self._server.is_running:
            self._server.start()

    def freeze(self) -> None:
        """The server and each of its backends, with the locks that they hold."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        postmaster = psutil.Process(self._server.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            # A backend whose client has gone may end between the two.
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
