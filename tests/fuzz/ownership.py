"""Who owns an id, a canary or a secret: from the database, and from what the run itself has made."""

import re

from sqlalchemy import select
from sqlmodel import col

from fuzz.callers import Callers
from fuzz.exchanges import ID
from phoenix.db import Database
from phoenix.jobs.tables import ArtifactRow, JobRow
from phoenix.jobs.webhooks.tables import WebhookDeliveryRow
from phoenix.storyboards.tables import StoryboardRow

TABLES = {"job": JobRow, "art": ArtifactRow, "whd": WebhookDeliveryRow, "stb": StoryboardRow}


class Ownership:
    """Remembers what it has looked up, so that the owner of what was deleted is still known."""

    def __init__(self, database: Database, callers: Callers) -> None:
        self._database = database
        self._callers = callers
        self._names: dict[str, str | None] = {}

    def owner_of(self, token: str) -> str | None:
        """The name of its caller; None if nobody is known to own it."""
        if token in self._names:
            return self._names[token]
        return next((caller.name for caller in self._callers.everyone if token in (caller.canary, caller.key)), None)

    def add(self, token: str, caller_name: str) -> None:
        self._names[token] = caller_name

    async def look_up(self, text: str) -> None:
        """Learns the owner of every id in the text. A job is known as a video too."""
        unknown = {name.replace("video_", "job_") for name in ID.findall(text)} - self._names.keys()
        names = {caller.owner_id: caller.name for caller in self._callers.everyone}
        async with self._database.read() as session:
            for prefix, table in TABLES.items():
                wanted = [token for token in unknown if token.startswith(prefix)]
                if not wanted:
                    continue
                rows = await session.execute(
                    select(col(table.id), col(table.owner_id)).where(col(table.id).in_(wanted))
                )
                for token, owner_id in rows:
                    self._names[token] = self._names[re.sub("^job_", "video_", token)] = names.get(owner_id, owner_id)
