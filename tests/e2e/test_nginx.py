"""The deployed nginx configuration, tried with a real nginx in front of two replicas."""

import socket
import ssl
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fixtures.certificates import NOW, name_of, new_key, pem_of
from fixtures.nginx import MAX_BODY_BYTES, Nginx, Replica, run_nginx
from fixtures.ports import free_port
from fixtures.repository import REPOSITORY
from phoenix.settings import Settings

pytestmark = pytest.mark.e2e

Replicas = tuple[Replica, Replica]


def test_requests_spread_over_the_replicas(nginx: Nginx, replicas: Replicas) -> None:
    with httpx.Client(base_url=nginx.url, timeout=100) as client:
        pids = [client.get("/v1/models").json()["pid"] for _ in range(10)]

    assert {pids.count(replica.process.pid) for replica in replicas} == {5}


@pytest.mark.parametrize("path", ["/v1/jobs/job_1/events", "/v1/events"])
def test_each_event_arrives_before_the_next_one_is_sent(nginx: Nginx, replicas: Replicas, path: str) -> None:
    arrived: list[str] = []
    with httpx.stream("GET", nginx.url + path, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("id: "):
                arrived.append(line)
                for replica in replicas:
                    httpx.post(f"{replica.url}/next-event", timeout=100)

    assert arrived == ["id: 1", "id: 2", "id: 3"]


def test_an_upload_of_the_largest_size_passes(nginx: Nginx) -> None:
    answer = httpx.post(f"{nginx.url}/v1/uploads", content=bytes(MAX_BODY_BYTES), timeout=100)

    assert answer.json()["size"] == MAX_BODY_BYTES


def test_a_larger_upload_is_refused_before_a_replica_sees_it(nginx: Nginx, replicas: Replicas) -> None:
    answer = httpx.post(f"{nginx.url}/v1/uploads", content=bytes(MAX_BODY_BYTES + 1), timeout=100)

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"
    assert answer.json()["instance"] == "/v1/uploads"
    assert [replica.seen() for replica in replicas] == [[], []]


def test_the_deployed_cap_is_a_little_above_the_cap_of_the_api() -> None:
    compose = (REPOSITORY / "deploy" / "compose.yaml").read_text()
    cap_bytes = int(compose.split("NGINX_MAX_BODY:-")[1].split("m}")[0]) * 1024**2
    api_cap_bytes = Settings().limits.max_upload_bytes

    assert api_cap_bytes + 100_000 < cap_bytes < 1.1 * api_cap_bytes


def test_reads_go_on_when_a_replica_is_killed(nginx: Nginx, replicas: Replicas) -> None:
    with httpx.Client(base_url=nginx.url, timeout=100) as client:
        client.get("/v1/models")
        replicas[0].process.kill()
        replicas[0].process.wait()
        answers = [client.get("/v1/models") for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["pid"] for answer in answers} == {replicas[1].process.pid}


def test_a_post_request_that_killed_its_replica_is_not_sent_to_the_other(nginx: Nginx, replicas: Replicas) -> None:
    answer = httpx.post(f"{nginx.url}/v1/crash", content=b"{}", timeout=100)
    (logged,) = nginx.finish()

    assert answer.status_code == 503
    assert answer.json()["code"] == "UNAVAILABLE"
    assert logged["upstream"] in {replica.url.removeprefix("http://") for replica in replicas}


def test_no_replica_at_all_is_reported_as_a_problem_with_a_time_to_come_back(tmp_path: Path) -> None:
    with socket.socket() as nobody, run_nginx(tmp_path, [f"http://127.0.0.1:{_refusing_port(nobody)}"]) as nginx:
        answer = httpx.get(f"{nginx.url}/v1/models", timeout=100)

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_request_id_is_passed_on(nginx: Nginx, replicas: Replicas) -> None:
    httpx.get(f"{nginx.url}/v1/models", headers={"X-Request-ID": "from-the-client.1"}, timeout=100)

    assert _only_request(replicas)["headers"]["x-request-id"] == "from-the-client.1"


@pytest.mark.parametrize("given", [None, 'a"b', "x" * 129])
def test_a_missing_or_hostile_request_id_is_replaced(nginx: Nginx, replicas: Replicas, given: str | None) -> None:
    httpx.get(f"{nginx.url}/v1/models", headers={"X-Request-ID": given} if given else {}, timeout=100)
    request_id = _only_request(replicas)["headers"]["x-request-id"]

    assert len(request_id) == 32
    assert nginx.finish()[0]["request_id"] == request_id


def test_a_stream_token_does_not_get_into_the_log(nginx: Nginx) -> None:
    httpx.get(f"{nginx.url}/v1/models", params={"token": "secret-token"}, timeout=100)
    (logged,) = nginx.finish()

    assert logged["path"] == "/v1/models"
    assert "secret-token" not in nginx.log.read_text()


def test_the_client_s_address_and_scheme_reach_the_replica(nginx: Nginx, replicas: Replicas) -> None:
    httpx.get(f"{nginx.url}/v1/models", headers={"X-Forwarded-Proto": "https", "Host": "phoenix.example"}, timeout=100)
    headers = _only_request(replicas)["headers"]

    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"] == "phoenix.example"


FORGED = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}


def test_a_client_does_not_choose_its_own_address(nginx: Nginx, replicas: Replicas) -> None:
    httpx.get(f"{nginx.url}/v1/models", headers=FORGED, timeout=100)

    assert _only_request(replicas)["headers"]["x-forwarded-for"] == "127.0.0.1"


def test_of_a_proxy_that_is_named_the_last_entry_is_the_client(replicas: Replicas, tmp_path: Path) -> None:
    with run_nginx(tmp_path, [replicas[0].url], real_ip="set_real_ip_from 127.0.0.1;") as nginx:
        httpx.get(f"{nginx.url}/v1/models", headers=FORGED, timeout=100)

    assert _only_request(replicas)["headers"]["x-forwarded-for"] == "198.51.100.7"


def test_metrics_of_whichever_replica_are_not_served(nginx: Nginx, replicas: Replicas) -> None:
    assert httpx.get(f"{nginx.url}/metrics", timeout=100).json()["code"] == "NOT_FOUND"
    assert [replica.seen() for replica in replicas] == [[], []]


def test_headers_that_are_too_long_are_refused_as_a_problem(nginx: Nginx) -> None:
    answer = httpx.get(f"{nginx.url}/v1/models", headers={"X-Padding": "x" * 100_000}, timeout=100)

    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_REQUEST"


def test_one_address_has_only_so_many_requests_at_a_time(replicas: Replicas, tmp_path: Path) -> None:
    with (
        run_nginx(tmp_path, [replicas[0].url], per_client=1) as nginx,
        httpx.stream("GET", f"{nginx.url}/v1/events", timeout=100) as stream,
    ):
        lines = stream.iter_lines()
        next(lines)
        refused = httpx.get(f"{nginx.url}/v1/models", timeout=100)

    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
    assert refused.json()["violated-policies"] == ["connections"]
    assert refused.headers["retry-after"] == "5"


def test_nginx_waits_as_long_for_a_client_that_does_not_read_as_the_api() -> None:
    template = (REPOSITORY / "deploy" / "nginx.conf.template").read_text()

    assert f"send_timeout {Settings().limits.send_timeout_s:.0f}s;" in template


def _only_request(replicas: Replicas) -> dict:
    (request,) = [request for replica in replicas for request in replica.seen()]
    return request


def _refusing_port(held: socket.socket) -> int:
    """A port that is taken and does not listen, so that a connection is refused for certain."""
    held.bind(("127.0.0.1", 0))
    return held.getsockname()[1]


def test_the_lines_of_compose_end_tls_in_nginx(replicas: Replicas, tmp_path: Path) -> None:
    folder, port = tmp_path / "certificates", free_port()
    folder.mkdir()
    write_certificate(folder)
    compose = yaml.safe_load((REPOSITORY / "deploy" / "compose.tls.yaml").read_text())
    lines = compose["services"]["nginx"]["environment"]["NGINX_TLS"]
    # The nginx of the tests may be older than 1.25, which has this line.
    lines = lines.replace("http2 on;", "").replace("/certificates", str(folder)).replace("8443", f"127.0.0.1:{port}")

    with run_nginx(tmp_path, [replica.url for replica in replicas], tls=lines):
        trusted = ssl.create_default_context(cafile=folder / "fullchain.pem")
        answer = httpx.get(f"https://127.0.0.1:{port}/v1/models", verify=trusted, timeout=100)

    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert _only_request(replicas)["headers"]["x-forwarded-proto"] == "https"


def write_certificate(folder: Path) -> None:
    """One that signs itself, for 127.0.0.1."""
    key, name = new_key(), name_of("127.0.0.1")
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(pem_of(certificate))
    (folder / "privkey.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
