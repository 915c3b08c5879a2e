"""The socket of the private Redis, and its options."""

from pathlib import Path

from phoenix.cli.embedded.redis_server import MAX_SOCKET_PATH_BYTES, server_argv, socket_path


def test_its_socket_lies_in_the_data_folder(tmp_path: Path):
    with socket_path(tmp_path) as path:
        assert path == tmp_path / "redis" / "redis.sock"


def test_a_folder_too_deep_for_a_socket_gets_a_short_path_for_the_time(tmp_path: Path):
    with socket_path(tmp_path / ("d" * 120)) as path:
        assert len(str(path).encode()) <= MAX_SOCKET_PATH_BYTES
        assert path.parent.exists()
    assert not path.parent.exists()


def test_it_opens_no_port_and_keeps_its_log(tmp_path: Path):
    argv = server_argv("redis-server", tmp_path / "s", tmp_path)
    options = dict(zip(argv[1::2], argv[2::2], strict=True))
    assert options["--port"] == "0"
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
