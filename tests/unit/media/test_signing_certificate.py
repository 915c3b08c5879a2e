"""Which certificates sign results, and what the operator reads of one that cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from fixtures.certificates import Authority, new_key
from phoenix.contract import Transition
from phoenix.contract.resolved import ResolvedStitch
from phoenix.media.credentials.signing import CertificateUnusable, describe_origin, load_certificate
from phoenix.settings import C2paSettings

AUTHORITY = Authority()
SIGNER = AUTHORITY.signer()


def refusal(settings: C2paSettings) -> str:
    with pytest.raises(CertificateUnusable) as refused:
        load_certificate(settings)
    return refused.value.detail


def test_without_settings_nothing_is_signed() -> None:
    assert load_certificate(C2paSettings()) is None


def test_a_certificate_without_its_key_is_no_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set both of certificate and key"):
        C2paSettings(certificate=tmp_path / "chain.pem")


@pytest.mark.parametrize(
    ("make_key", "algorithm"),
    [
        (new_key, "es256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65_537, 2048), "ps256"),
    ],
    ids=["P-256", "P-384", "Ed25519", "RSA"],
)
def test_the_kind_of_the_key_decides_the_algorithm(tmp_path: Path, make_key: Callable[[], Any], algorithm: str) -> None:
    found = load_certificate(AUTHORITY.signer(key=make_key()).write(tmp_path, AUTHORITY.root()))

    assert found is not None
    assert (found.algorithm, found.subject) == (algorithm, "CN=Signer,O=Test Org")


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    found = load_certificate(SIGNER.write(tmp_path))

    assert found is not None
    assert "PRIVATE" not in repr(found)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (lambda folder: AUTHORITY.signer(days=-1).write(folder), "is valid from"),
        (lambda folder: AUTHORITY.signer(purpose=None).write(folder), "extended key usages email protection"),
        (lambda folder: AUTHORITY.signer(purpose=ExtendedKeyUsageOID.SERVER_AUTH).write(folder), "extended key usages"),
        (lambda folder: AUTHORITY.signer(signs=False).write(folder), "not for digital signatures"),
        (lambda folder: AUTHORITY.signer(is_authority=True).write(folder), "put the signer's first"),
        (lambda folder: AUTHORITY.root().write(folder), "self-signed"),
        (lambda folder: SIGNER.write(folder, key=new_key()), "is not the key of the first certificate"),
        (lambda folder: SIGNER.write(folder, AUTHORITY.signer()), "is not its issuer's"),
        (
            lambda folder: AUTHORITY.signer(key=rsa.generate_private_key(65_537, 1024)).write(folder),
            "RSA with 2048 bits or more",
        ),
    ],
    ids=["expired", "no purpose", "a server", "no signatures", "authority", "self-signed", "key", "order", "short key"],
)
def test_a_certificate_that_readers_would_not_accept_is_refused(
    tmp_path: Path, settings: Callable[[Path], C2paSettings], reason: str
) -> None:
    assert reason in refusal(settings(tmp_path))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    whole = SIGNER.write(tmp_path)
    away, empty = tmp_path / "away.pem", tmp_path / "empty.pem"
    empty.touch()

    assert str(away) in refusal(C2paSettings(certificate=whole.certificate, key=away))
    assert "PHOENIX_C2PA__CERTIFICATE" in refusal(C2paSettings(certificate=empty, key=whole.key))
    assert "PHOENIX_C2PA__KEY" in refusal(C2paSettings(certificate=whole.certificate, key=empty))


def test_a_purpose_of_c2pa_itself_is_enough(tmp_path: Path) -> None:
    purpose = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")

    assert load_certificate(AUTHORITY.signer(purpose=purpose).write(tmp_path)) is not None


def test_a_stitch_is_a_composite_of_which_nothing_else_is_claimed() -> None:
    origin = describe_origin(ResolvedStitch(artifact_ids=["art_1", "art_2"], transition=Transition()))

    [created] = origin["assertions"][0]["data"]["actions"]
    assert (created["action"], created["digitalSourceType"].rpartition("/")[2]) == ("c2pa.created", "composite")
    assert created["description"] == "joined from 2 videos"
