"""Downloads a URL, with limits on bytes, time and redirects, and only from addresses that the egress policy allows."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import httpcore
import httpx

from phoenix.clock import in_seconds
from phoenix.disk_space import is_full_disk
from phoenix.errors import FailureCode, Stage, TaskFailed, no_space
from phoenix.media.ssrf import EgressPolicy, UrlNotAllowed, check_url, open_pool, port_of

_MAX_REDIRECTS = 4
_IDLE_LIMIT_S = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)
_RETRIABLE_STATUSES = (408, 425, 429)
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "phoenix"}
_TIMEOUTS = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), _IDLE_LIMIT_S)}


async def fetch_file(url: str, output: Path, *, policy: EgressPolicy, max_bytes: int, timeout_s: float) -> int:
    """Downloads `url` to `output`. Returns the size in bytes. To stop the download, cancel the asyncio task.

    Raises `TaskFailed`, which is retriable if a later attempt may succeed. The message is the same for all unreachable
    hosts, so that it reveals nothing about the network of the server.
    """
    try:
        with await asyncio.to_thread(output.open, "wb") as file:
            async with asyncio.timeout(timeout_s), open_pool(policy) as pool:
                return await _follow(pool, url, file, policy, max_bytes)
    except UrlNotAllowed as error:
        raise _failed(f"the URL may not be fetched: {error.detail}") from error
    except TimeoutError as error:
        raise _failed(f"the URL could not be fetched within {in_seconds(timeout_s)}", retriable=True) from error
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        raise _failed("the URL could not be fetched: no usable response", retriable=True) from error
    except OSError as error:
        raise _storage_failed(error) from error


async def _follow(
    pool: httpcore.AsyncConnectionPool, url: str, file: IO[bytes], policy: EgressPolicy, max_bytes: int
) -> int:
    for _ in range(_MAX_REDIRECTS + 1):
        target = check_url(url, policy)
        async with pool.stream(
            "GET", _core_url(target), headers={**_HEADERS, "host": target.netloc.decode()}, extensions=_TIMEOUTS
        ) as response:
            headers = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in headers:
                url = _redirected(target, headers)
                continue
            _check_response(response.status, headers, max_bytes)
            return await _save(response, file, max_bytes)
    raise _failed(f"the URL was redirected more than {_MAX_REDIRECTS} times")


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)


def _redirected(base: httpx.URL, headers: Mapping[bytes, bytes]) -> str:
    try:
        return str(base.join(headers[b"location"].decode()))
    except (httpx.InvalidURL, UnicodeDecodeError) as error:
        raise UrlNotAllowed("it redirects to something that is no URL") from error


def _check_response(status: int, headers: Mapping[bytes, bytes], max_bytes: int) -> None:
    if status != 200:
        retriable = status >= 500 or status in _RETRIABLE_STATUSES
        raise _failed(f"the URL returned status {status}", retriable=retriable)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _failed("the URL returned a compressed body, which was not requested")
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > max_bytes:
        raise _too_large(max_bytes)


async def _save(response: httpcore.Response, file: IO[bytes], max_bytes: int) -> int:
    size_bytes = 0
    async for chunk in response.aiter_stream():
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise _too_large(max_bytes)
        file.write(chunk)
    return size_bytes


def _too_large(max_bytes: int) -> TaskFailed:
    return _failed(f"the file behind the URL is larger than {max_bytes} bytes")


def _failed(detail: str, *, retriable: bool = False) -> TaskFailed:
    return TaskFailed(FailureCode.MEDIA_INVALID, detail, stage=Stage.FETCH, retriable=retriable)


def _storage_failed(error: OSError) -> TaskFailed:
    if is_full_disk(error):
        return no_space("the fetched file was lost: no space left", stage=Stage.FETCH)
    detail = "the fetched file was lost: it could not be written"
    return TaskFailed(FailureCode.STORAGE_FAILED, detail, stage=Stage.FETCH, retriable=True)
