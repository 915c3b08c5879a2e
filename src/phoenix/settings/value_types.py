"""Types of the settings' values. Each type checks its value, with an error that says what to write instead.

An error never repeats a URL: the URL may contain a password.
"""

import base64
import ipaddress
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_Part = TypeVar("_Part")

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
_HOST_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.IGNORECASE)
_DATABASES = ("sqlite", "sqlite+aiosqlite", "postgresql", "postgres", "postgresql+asyncpg")
_KEY_BYTES = 32
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsGroup(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuthMode(StrEnum):
    OFF = "off"
    REQUIRED = "required"


Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]
"""Preset of x264: a slower preset makes a smaller file."""


def _matching(is_right: Callable[[SplitResult], bool], remedy: str) -> AfterValidator:
    def check(text: str) -> str:
        if not _has_port(text) or not is_right(urlsplit(text)):
            raise ValueError(remedy)
        return text

    return AfterValidator(check)


def _has_port(url: str) -> bool:
    """Whether a client can connect to the port of the URL, or the URL names none."""
    try:
        port = urlsplit(url).port
    except ValueError:  # unbalanced brackets, or a port that is not a number
        return False
    return port != 0


def _is_database(url: SplitResult) -> bool:
    # With a database in memory, each process would have its own.
    is_in_memory = url.scheme.startswith("sqlite") and url.path.strip("/") in ("", ":memory:")
    return url.scheme in _DATABASES and not is_in_memory


def _is_storage(url: SplitResult) -> bool:
    if url.scheme == "file":
        return url.netloc in ("", "localhost") and url.path.startswith("/")
    return url.scheme in ("s3", "gs", "az") and bool(url.netloc)


def _is_redis(url: SplitResult) -> bool:
    return bool(url.path) if url.scheme == "unix" else url.scheme in ("redis", "rediss")


def _is_web(url: SplitResult) -> bool:
    return url.scheme in ("http", "https") and bool(url.hostname)


def _has_no_login(url: SplitResult) -> bool:
    # Libraries write the URLs that they call into the log.
    return _is_web(url) and url.username is None and url.password is None


def _check_origin(text: str) -> str:
    if text != "*" and not (_ORIGIN.fullmatch(text) and _has_port(text)):
        raise ValueError("write an origin such as https://app.example.com, without a path or a slash at its end, or *")
    return text


def _check_host(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        # What ends in a number is an address that cannot be read, and no name.
        if not _HOST_NAME.fullmatch(text) or text.rpartition(".")[2].isdigit():
            remedy = "write a name such as phoenix.example.com or *.example.com, an IP address or a network"
            raise ValueError(f"{remedy}, without a scheme and a port") from None
    return text


def _check_proxy(text: str) -> str:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"write an IP address, or a network such as 10.0.0.0/8: {error}") from error
    if network.prefixlen == 0:
        raise ValueError("name the addresses or networks of the proxies: every client could choose its own address")
    return text


def _check_encryption_key(key: SecretStr) -> SecretStr:
    try:
        is_key = len(base64.b64decode(key.get_secret_value(), altchars=b"-_", validate=True)) == _KEY_BYTES
    except ValueError:
        is_key = False
    if not is_key:
        raise ValueError(f"write keys of {_KEY_BYTES} random bytes in URL-safe base64; `phoenix db new-key` makes one")
    return key


def _check_level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise ValueError(f"write one of {', '.join(_LEVELS)}")
    return text.upper()


def _refuse_boolean(value: object) -> object:
    # pydantic takes true for 1.
    if isinstance(value, bool):
        raise ValueError("write a number from 1 to 65535")
    return value


def _split(value: object) -> object:
    """Also accepts `a, b` and `443` as lists, since JSON in an environment variable is error-prone."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


CommaSeparated = Annotated[tuple[_Part, ...], BeforeValidator(_split)]
Port = Annotated[int, BeforeValidator(_refuse_boolean), Field(ge=1, le=65535)]
DatabaseUrl = Annotated[
    str, _matching(_is_database, "write postgresql://user:password@host/database or sqlite:////folder/file.db")
]
RedisUrl = Annotated[str, _matching(_is_redis, "write redis://host:6379/0, rediss://host:6379/0 or unix:///socket")]
StorageUrl = Annotated[
    str, _matching(_is_storage, "write file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")
]
WebUrl = Annotated[str, _matching(_is_web, "write a URL that begins with https:// or http://")]
WebUrlWithoutLogin = Annotated[
    str, _matching(_has_no_login, "write a URL that begins with https:// or http:// and has no user and no password")
]
Origin = Annotated[str, AfterValidator(_check_origin)]
HostPattern = Annotated[str, AfterValidator(_check_host)]
ProxyAddress = Annotated[str, AfterValidator(_check_proxy)]
EncryptionKey = Annotated[SecretStr, AfterValidator(_check_encryption_key)]
LogLevel = Annotated[str, AfterValidator(_check_level)]
