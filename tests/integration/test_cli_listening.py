"""The socket that `up` opens for its API."""

import socket

import pytest

from phoenix.cli.embedded.listening import CannotListen, listening, url_of


def test_port_zero_picks_a_free_port_that_accepts_connections():
    with listening("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            pass
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_wildcard_address_is_shown_as_an_address_that_clients_can_open():
    with listening("0.0.0.0", 0) as listener:
        assert url_of(listener).startswith("http://127.0.0.1:")


def test_a_port_in_use_is_reported_with_what_to_do():
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(CannotListen, match=f"Port {port} .* in use .*--port"), listening("127.0.0.1", port):
            pass


def test_an_address_that_is_not_of_this_machine_is_refused():
    with pytest.raises(CannotListen, match=r"192\.0\.2\.1"), listening("192.0.2.1", 0):
        pass
