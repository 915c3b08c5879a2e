"""Encrypts the secrets that the database keeps, where the settings have a key for it. Knows no table."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from phoenix.errors import Unavailable

_PREFIX = "fernet:"
"""Begins an encrypted value. A generated secret never begins so."""


class SecretUnreadable(Unavailable):
    """A stored secret was encrypted with a key that is not in PHOENIX_DATABASE__ENCRYPTION_KEYS; add that key."""


class SecretCipher:
    """Encrypts with the first key, and decrypts with any. Without a key, secrets are stored as they are.

    `keys`: Fernet keys, newest first.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None

    def encrypt(self, secret: str) -> str:
        """The value to store."""
        return secret if self._fernet is None else _PREFIX + self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """The secret of a stored value, which may be older than the first key. Raises `SecretUnreadable`."""
        if not stored.startswith(_PREFIX):
            return stored
        if self._fernet is None:
            raise SecretUnreadable
        try:
            return self._fernet.decrypt(stored.removeprefix(_PREFIX)).decode()
        except InvalidToken:
            raise SecretUnreadable from None

    def renew(self, stored: str) -> str:
        """The same secret, encrypted with the first key. Raises `SecretUnreadable`."""
        return self.encrypt(self.decrypt(stored))
