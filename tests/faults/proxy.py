"""A TCP proxy between Phoenix and a server behind it, on which connections can be cut, frozen, refused or slowed."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Answer = TypeVar("Answer")

CHUNK_BYTES = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultyProxy:
    """Listens on a free port of an address, loopback by default, in a thread of its own, until it is closed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], address: str = "127.0.0.1") -> None:
        self._connect = connect
        self._address = address
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._is_refusing = False
        self._delay_s = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Resets every connection; new ones are welcome."""
        self._call(self._reset())

    def freeze(self) -> None:
        """Swallows everything, as a cable that was pulled: nothing fails, and nothing comes."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def refuse(self) -> None:
        """Resets every connection, and each new one."""
        self._is_refusing = True
        self.cut()

    def slow_down(self, delay_s: float) -> None:
        """Delays each chunk by so much, in both directions."""
        self._delay_s = delay_s

    def heal(self) -> None:
        self._is_refusing = False
        self._delay_s = 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, self._address, 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        writers = [writer]
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            if self._is_refusing:
                return
            there, back = await self._connect()
            writers.append(back)
            self._writers.add(back)
            pumps = [asyncio.create_task(self._pump(reader, back)), asyncio.create_task(self._pump(there, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._serving.discard(task)
            for each in writers:
                self._writers.discard(each)
                each.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flowing.wait()
                await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()

    async def _reset(self) -> None:
        for writer in list(self._writers):
            if (opened := writer.get_extra_info("socket")) is not None and opened.family != socket.AF_UNIX:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._reset()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
