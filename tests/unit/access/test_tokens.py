"""Tokens in URLs, for following one job and for its media."""

from datetime import UTC, datetime, timedelta

import pytest

from phoenix.access.tokens import Grant, TokenPurpose, read_grant, sign
from phoenix.errors import Forbidden, Unauthenticated

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STREAM, MEDIA = TokenPurpose.STREAM, TokenPurpose.MEDIA
GRANT = Grant(STREAM, "job_1", "0123456789ab", "89abcdef", NOW + timedelta(hours=1))
SECRET = b"secret"


def test_a_token_says_who_may_follow_which_job() -> None:
    assert read_grant(SECRET, sign(SECRET, GRANT), STREAM, resource_id="job_1", now=NOW) == GRANT


def test_a_token_is_refused_on_another_job() -> None:
    with pytest.raises(Forbidden):
        read_grant(SECRET, sign(SECRET, GRANT), STREAM, resource_id="job_2", now=NOW)


def test_a_token_of_one_purpose_is_of_no_use_for_another() -> None:
    media = Grant(MEDIA, "job_1", GRANT.owner_id, GRANT.secret_id, GRANT.expires_at)

    for grant, wanted in ((GRANT, MEDIA), (media, STREAM)):
        with pytest.raises(Unauthenticated):
            read_grant(SECRET, sign(SECRET, grant), wanted, resource_id="job_1", now=NOW)


def test_an_expired_token_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        read_grant(SECRET, sign(SECRET, GRANT), STREAM, resource_id="job_1", now=GRANT.expires_at)


def test_a_token_of_another_secret_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        read_grant(b"other", sign(SECRET, GRANT), STREAM, resource_id="job_1", now=NOW)


@pytest.mark.parametrize("token", ["", ".", "a.b", "a.b.c", "é.é", "x" * 5000, "AAAA.AAAA"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        read_grant(SECRET, token, STREAM, resource_id="job_1", now=NOW)


def test_every_changed_character_is_noticed() -> None:
    token = sign(SECRET, GRANT)
    for place in range(len(token) - 1):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(Unauthenticated):
            read_grant(SECRET, changed, STREAM, resource_id="job_1", now=NOW)
