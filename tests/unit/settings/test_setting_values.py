"""A setting that cannot be meant is refused when it is read, with what to write instead."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from phoenix.settings import Settings, load_settings

PASSWORD = "hunter2"


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    [fault] = caught.value.errors()
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://phoenix@db/phoenix",
        "postgres://phoenix:p%40ss@[::1]:5432/phoenix",
        "postgresql+asyncpg:///phoenix?host=/run/postgresql",
        "sqlite:////srv/phoenix.db",
        "sqlite+aiosqlite:///phoenix.db",
    ],
)
def test_the_databases_that_phoenix_works_with_are_taken(url: str):
    assert Settings.model_validate({"database": {"url": url}}).database.url == url


@pytest.mark.parametrize(
    "url", ["mysql://db/x", "nonsense", "postgresql://db:port/x", "sqlite://", "sqlite:///:memory:"]
)
def test_another_database_is_refused(url: str):
    assert refusal(database={"url": url}).startswith("database.url: Value error, write postgresql://")


@pytest.mark.parametrize("url", ["redis://:secret@cache:6379/3", "rediss://cache", "unix:///run/redis.sock?db=1"])
def test_the_kinds_of_redis_urls_are_taken(url: str):
    assert Settings.model_validate({"redis": {"url": url}}).redis.url == url


@pytest.mark.parametrize("url", ["http://cache", "cache:6379", "unix://", "redis://cache:none"])
def test_another_url_of_redis_is_refused(url: str):
    assert "write redis://" in refusal(redis={"url": url})


@pytest.mark.parametrize(
    "url", ["file:///srv/files", "file://localhost/srv", "s3://bucket", "s3://bucket/a/prefix", "gs://bucket/a/prefix"]
)
def test_folders_and_buckets_are_taken(url: str):
    assert Settings.model_validate({"storage": {"url": url}}).storage.url == url


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "s3://", "folder", "file://host/folder", "file:folder", "gs://", "az:///x"]
)
def test_another_place_of_storage_is_refused(url: str):
    assert "write file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix" in refusal(
        storage={"url": url}
    )


@pytest.mark.parametrize("group", [{"s3_access_key_id": "id"}, {"s3_secret_access_key": PASSWORD}])
def test_half_of_a_key_is_refused(group: dict[str, str]):
    assert "set both" in refusal(storage=group)


def test_a_container_of_azure_needs_its_account():
    assert "set azure_account" in refusal(storage={"url": "az://container"})


def test_a_key_of_azure_that_is_no_base64_is_refused_and_not_repeated():
    group = {"url": "az://container", "azure_account": "films", "azure_key": PASSWORD}
    fault = refusal(storage=group)
    assert "in base64" in fault
    assert PASSWORD not in fault


@pytest.mark.parametrize(("group", "field"), [("api", "public_url"), ("storage", "s3_endpoint"), ("veo", "base_url")])
@pytest.mark.parametrize("url", ["phoenix.example.com", "https://", "ftp://host"])
def test_a_base_that_is_no_web_address_is_refused(group: str, field: str, url: str):
    assert "https://" in refusal(**{group: {field: url}})


@pytest.mark.parametrize("origin", ["https://app.example.com", "http://localhost:5173", "capacitor://localhost", "*"])
def test_origins_are_taken(origin: str):
    assert Settings.model_validate({"api": {"cors_origins": [origin]}}).api.cors_origins == (origin,)


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://a.example/path"])
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str):
    assert "without a path or a slash" in refusal(api={"cors_origins": [origin]})


@pytest.mark.parametrize(
    "host", ["phoenix.example.com", "*.example.com", "render_box1", "10.0.0.7", "10.0.0.0/8", "::1"]
)
def test_hosts_are_names_addresses_or_networks(host: str):
    assert Settings.model_validate({"api": {"allowed_hosts": [host]}}).api.allowed_hosts == (host,)


@pytest.mark.parametrize(
    "host", ["*", "https://a.example", "a.example:8080", "[::1]", "10.0.0", "10.0.0.1/8", "a b", ""]
)
def test_what_is_no_host_is_refused(host: str):
    assert "write a name" in refusal(api={"allowed_hosts": [host]})


@pytest.mark.parametrize("proxy", ["10.0.0.0/8", "127.0.0.1", "::1"])
def test_proxies_are_addresses_or_networks(proxy: str):
    assert Settings.model_validate({"api": {"trusted_proxies": [proxy]}}).api.trusted_proxies == (proxy,)


@pytest.mark.parametrize("proxy", ["nginx", "10.0.0.1/8", "10.0.0", "*"])
def test_a_proxy_that_would_never_match_is_refused(proxy: str):
    assert "write an IP address" in refusal(api={"trusted_proxies": [proxy]})


@pytest.mark.parametrize("proxy", ["0.0.0.0/0", "::/0"])
def test_clients_are_not_trusted_as_proxies(proxy: str):
    assert "choose its own address" in refusal(api={"trusted_proxies": [proxy]})


def test_the_level_of_the_log_may_be_written_in_any_case():
    assert Settings.model_validate({"log": {"level": "debug"}}).log.level == "DEBUG"


def test_an_unknown_level_is_refused_with_those_there_are():
    assert "write one of DEBUG, INFO" in refusal(log={"level": "LOUD"})


def test_a_heartbeat_that_lets_leases_expire_is_refused():
    assert "half of lease_s" in refusal(scheduler={"heartbeat_s": 20})


def test_a_refusal_does_not_repeat_a_password():
    assert PASSWORD not in refusal(database={"url": f"mysql://root:{PASSWORD}@db/x"})


def test_no_part_of_an_error_repeats_a_value_that_was_refused():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"database": {"encryption_keys": PASSWORD}})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("key", ["", "x" * 44, "AAAA", "A" * 44])
def test_what_is_no_key_is_refused_with_how_to_make_one(key: str):
    assert "`phoenix db new-key`" in refusal(database={"encryption_keys": [key]})


def test_several_keys_are_written_with_commas():
    keys = ("A" * 43 + "=", "_" * 42 + "8=")
    read = Settings.model_validate({"database": {"encryption_keys": ", ".join(keys)}}).database.encryption_keys
    assert tuple(key.get_secret_value() for key in read) == keys


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_STORAGE__URL", "")
    monkeypatch.setenv("PHOENIX_AUTH", "")
    assert load_settings() == Settings()


@pytest.mark.parametrize("text", ["https://a.example, https://b.example", '["https://a.example","https://b.example"]'])
def test_a_list_is_written_with_commas_or_as_json(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_API__CORS_ORIGINS", text)
    assert load_settings().api.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(("text", "ports"), [("8443", (8443,)), ("443,8443", (443, 8443)), ("[443]", (443,))])
def test_numbers_are_listed_in_the_same_ways(text: str, ports: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_MEDIA__FETCH_PORTS", text)
    assert load_settings().media.fetch_ports == ports


@pytest.mark.parametrize("port", [0, 65_536, -1, True, "0"])
def test_a_port_that_nobody_can_connect_to_is_refused(port: object):
    assert refusal(media={"fetch_ports": [port]}).startswith("media.fetch_ports.0: ")


@pytest.mark.parametrize(
    ("group", "field"), [("redis", "url"), ("api", "public_url"), ("storage", "s3_endpoint"), ("database", "url")]
)
def test_a_url_of_port_zero_is_refused(group: str, field: str):
    scheme = {"redis": "redis", "database": "postgresql"}.get(group, "https")
    assert "write" in refusal(**{group: {field: f"{scheme}://host:0/x"}})


def test_an_origin_of_port_zero_is_refused():
    assert "write an origin" in refusal(api={"cors_origins": ["https://host:0"]})


def test_a_group_that_is_no_table_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOENIX_STORAGE", "s3://bucket")
    with pytest.raises(ValidationError, match="storage"):
        load_settings()


def test_a_misspelled_table_of_the_settings_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "phoenix.toml"
    file.write_text("[shceduler]\nlease_s = 20\n")
    monkeypatch.setenv("PHOENIX_CONFIG", str(file))
    with pytest.raises(ValidationError, match="shceduler"):
        load_settings()
