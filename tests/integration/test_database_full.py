"""A disk without room for the database."""

from sqlalchemy import event

from fixtures.api import Api, reel_body


async def test_a_database_that_cannot_grow_refuses_a_job_and_takes_it_once_there_is_space(api: Api) -> None:
    engine = api.services.database.engine.sync_engine
    await api.submit("before")
    pages: list[str] = ["1"]

    def limit(connection: object) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")  # type: ignore[attr-defined]

    event.listen(engine, "begin", limit, insert=True)
    refused = [await api.http.post("/v1/reels", json=reel_body("a" * 2000)) for _ in range(12)][-1]
    pages[0] = str(10**6)

    assert refused.status_code == 503, refused.text
    assert int(refused.headers["retry-after"]) > 0
    await api.submit("after")
