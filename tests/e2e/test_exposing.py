"""The page "Exposing Phoenix", followed step by step: its settings, its keys, its nginx, its checks from outside."""

import json
import re
import shlex
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fixtures.nginx import start_nginx
from fixtures.ports import free_port
from fixtures.repository import REPOSITORY
from fixtures.up_process import PhoenixProcess, PhoenixStarter
from phoenix.cli.embedded.listening import READY_LINE
from phoenix.clock import utc_now

pytestmark = pytest.mark.e2e

PAGE = (REPOSITORY / "docs" / "operations" / "exposing.md").read_text()
NAME = "phoenix.example.com"
OUTSIDE = "127.0.0.2"
"""The address from which the checks come, so that the proxy and the client can be told apart."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


SETTINGS, KEYS, CHECKS = blocks("sh")
(SERVER,) = blocks("nginx")


@dataclass(frozen=True)
class Exposed:
    """Phoenix behind the proxy of the page."""

    up: PhoenixProcess
    port: int
    url: str
    """Of Phoenix itself, which only this machine reaches."""
    keys: list[str]
    trusting: ssl.SSLContext

    @property
    def key(self) -> str:
        return self.keys[0]

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trusting, local_address=OUTSIDE)
        return httpx.Client(transport=transport, base_url=f"https://127.0.0.1:{self.port}", timeout=100)

    def run(self, command: str) -> httpx.Response:
        """What curl would do for this command, with the name of the page resolved to this machine."""
        words = shlex.split(command.replace("$KEY", self.key))
        assert words[:2] == ["curl", "-i"]
        method, url, headers = "GET", "", {"Host": NAME}
        rest = iter(words[2:])
        for word in rest:
            match word:
                case "-X":
                    method = next(rest)
                case "-H":
                    name, _, value = next(rest).partition(": ")
                    headers[name] = value
                case _:
                    url = word
        assert url.startswith(f"https://{NAME}/")
        path = url.removeprefix(f"https://{NAME}")
        with self.client() as http:
            return http.request(method, path, headers=headers, extensions={"sni_hostname": NAME})


@pytest.fixture
def exposed(start_phoenix: PhoenixStarter, tmp_path: Path) -> Iterator[Exposed]:
    settings = dict(line.split("=", 1) for line in SETTINGS.splitlines()) | {"PHOENIX_DATA_DIR": str(tmp_path / "data")}
    up = start_phoenix("up", "--port", "0", **settings)
    url = up.read_line().removeprefix(READY_LINE)
    made = [start_phoenix(*shlex.split(command)[1:], **settings) for command in KEYS.splitlines()]
    assert [each.wait() for each in made] == [0, 0], [each.log for each in made]
    port = free_port()
    write_certificate(tmp_path / "phoenix.crt", tmp_path / "phoenix.key")
    server = SERVER.replace("/etc/nginx/", f"{tmp_path}/").replace("http://127.0.0.1:8080", url)
    server = server.replace("listen 443", f"listen 127.0.0.1:{port}")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"pid {tmp_path}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
    with start_nginx(tmp_path, around, port):
        trusting = ssl.create_default_context(cafile=tmp_path / "phoenix.crt")
        yield Exposed(up, port, url, [each.output().strip() for each in made], trusting)


def write_certificate(certificate: Path, key: Path) -> None:
    """A certificate for the name of the page, signed by its own key."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = utc_now()
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pkcs8 = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()))


def test_every_check_of_the_page_gives_the_status_that_it_names(exposed: Exposed) -> None:
    checks = [re.fullmatch(r"(.+?)\s+# (\d{3})", line) for line in CHECKS.splitlines()]

    for check in checks:
        assert check
        answer = exposed.run(check[1])
        assert answer.status_code == int(check[2]), check[1]
    assert len(checks) >= 6
    clients = {
        line["client"]
        for line in map(json.loads, exposed.up.log.splitlines())
        if line["event"] == "request" and not line["path"].startswith("/health/ready")
    }
    assert clients == {OUTSIDE}


def test_the_key_for_the_metrics_reads_them_at_the_replica_and_nothing_else(exposed: Exposed) -> None:
    key = {"Authorization": f"Bearer {exposed.keys[1]}"}
    with exposed.client() as outside, httpx.Client(base_url=exposed.url, trust_env=False, timeout=100) as inside:
        at_the_replica = [inside.get(path, headers=key).status_code for path in ("/metrics", "/v1/jobs")]
        through_the_proxy = outside.get("/metrics", headers=key | {"Host": NAME}, extensions={"sni_hostname": NAME})

    assert (at_the_replica, through_the_proxy.status_code) == ([200, 403], 404)


def test_a_page_of_the_public_name_gets_secure_cookies_and_links(exposed: Exposed) -> None:
    key = {"Authorization": f"Bearer {exposed.key}", "Host": NAME}
    with exposed.client() as http:
        body = {"clips": [{"prompt": "the sea"}], "duration_s": 1}
        job = http.post("/v1/reels", json=body, headers=key, extensions={"sni_hostname": NAME}).json()
        path = f"/v1/jobs/{job['id']}/stream-tokens"
        token = http.post(path, headers=key, extensions={"sni_hostname": NAME})

    assert token.json()["url"].startswith(f"https://{NAME}/")
    assert "Secure" in token.headers["set-cookie"]
