"""Tokens for following one job."""

from datetime import UTC, datetime, timedelta

import pytest

from phoenix.access.stream_tokens import StreamGrant, read_grant, sign
from phoenix.errors import Forbidden, Unauthenticated

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GRANT = StreamGrant("job_1", "0123456789ab", "89abcdef", NOW + timedelta(hours=1))
SECRET = b"secret"


def test_a_token_says_who_may_follow_which_job() -> None:
    assert read_grant(SECRET, sign(SECRET, GRANT), job_id="job_1", now=NOW) == GRANT


def test_a_token_is_refused_on_another_job() -> None:
    with pytest.raises(Forbidden):
        read_grant(SECRET, sign(SECRET, GRANT), job_id="job_2", now=NOW)


def test_an_expired_token_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        read_grant(SECRET, sign(SECRET, GRANT), job_id="job_1", now=GRANT.expires_at)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        read_grant(b"other", sign(SECRET, GRANT), job_id="job_1", now=NOW)


@pytest.mark.parametrize("token", ["", ".", "a.b", "a.b.c", "é.é", "x" * 5000, "AAAA.AAAA"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        read_grant(SECRET, token, job_id="job_1", now=NOW)


def test_every_changed_character_is_noticed() -> None:
    token = sign(SECRET, GRANT)
    for place in range(len(token) - 1):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Unauthenticated):
            read_grant(SECRET, changed, job_id="job_1", now=NOW)
