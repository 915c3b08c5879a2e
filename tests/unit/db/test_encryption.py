"""What the database stores of a secret, and who can read it."""

import pytest
from cryptography.fernet import Fernet

from phoenix.db.encryption import SecretCipher, SecretUnreadable

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
SECRET = "whsec_c2VjcmV0"


def test_without_a_key_a_secret_is_stored_as_it_is() -> None:
    assert SecretCipher().encrypt(SECRET) == SECRET
    assert SecretCipher().decrypt(SECRET) == SECRET


def test_with_a_key_the_stored_value_does_not_show_the_secret() -> None:
    cipher = SecretCipher([NEW])
    stored = cipher.encrypt(SECRET)
    assert SECRET not in stored
    assert cipher.decrypt(stored) == SECRET


def test_a_value_that_was_stored_before_there_was_a_key_is_read() -> None:
    assert SecretCipher([NEW]).decrypt(SECRET) == SECRET


def test_a_value_of_an_older_key_is_read() -> None:
    stored = SecretCipher([OLD]).encrypt(SECRET)
    assert SecretCipher([NEW, OLD]).decrypt(stored) == SECRET


@pytest.mark.parametrize("keys", [[], [NEW]])
def test_a_value_whose_key_is_missing_is_an_error_that_names_the_setting(keys: list[str]) -> None:
    stored = SecretCipher([OLD]).encrypt(SECRET)
    with pytest.raises(SecretUnreadable, match="PHOENIX_DATABASE__ENCRYPTION_KEYS"):
        SecretCipher(keys).decrypt(stored)


def test_a_damaged_value_is_an_error() -> None:
    cipher = SecretCipher([NEW])
    with pytest.raises(SecretUnreadable):
        cipher.decrypt(cipher.encrypt(SECRET)[:-4])


@pytest.mark.parametrize("stored", [SECRET, SecretCipher([OLD]).encrypt(SECRET)], ids=["plain", "encrypted"])
def test_a_renewed_value_needs_only_the_first_key(stored: str) -> None:
    assert SecretCipher([NEW]).decrypt(SecretCipher([NEW, OLD]).renew(stored)) == SECRET
