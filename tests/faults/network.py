"""Hosts of their own for the workers: network namespaces on one bridge, each with a cable that can be pulled.

Needs root and iproute2, and is used within a namespace that is private to the run, so that nothing of the machine's own
network is touched. Where that is not to be had, the proxies alone stand between the processes.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fixtures import child_processes

TOOLS = ("ip", "nsenter", "unshare")
ADDRESS = "10.99.0.1"


@dataclass(frozen=True)
class Host:
    """A namespace that lives as long as its process, and the end of its cable at the bridge."""

    cable: str
    process: subprocess.Popen[bytes]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same command, on this host. It keeps the process id of its caller."""
        return ["nsenter", f"--target={self.process.pid}", "--net", "--", *arguments]

    def pull_cable(self) -> None:
        """Nothing is refused and nothing is reset: packets are lost, and each end goes on trying."""
        _run("ip", "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        _run("ip", "link", "set", self.cable, "up")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Network:
    """The bridge, which has `ADDRESS`, and the hosts on it."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "bridge", "type", "bridge")
        _run("ip", "address", "add", f"{ADDRESS}/24", "dev", "bridge")
        _run("ip", "link", "set", "bridge", "up")

    def add_host(self) -> Host:
        number = len(self.hosts) + 1
        process = child_processes.start(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        # A line says that the namespace is there.
        process.stdout.readline()
        process.stdout.close()
        host = Host(f"cable{number}", process)
        self.hosts.append(host)
        _run("ip", "link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        _run("ip", "link", "set", host.cable, "master", "bridge", "up")
        _run(*host.command(["ip", "address", "add", f"10.99.0.{number + 1}/24", "dev", "eth0"]))
        for interface in ("eth0", "lo"):
            _run(*host.command(["ip", "link", "set", interface, "up"]))
        return host

    def close(self) -> None:
        for host in self.hosts:
            host.close()


def can_be_private() -> bool:
    return (
        all(map(shutil.which, TOOLS)) and child_processes.run(["unshare", "--net", "true"], check=False).returncode == 0
    )


def start_again_in_private(arguments: Sequence[str]) -> None:
    """Replaces this process by `python` with these arguments in a namespace of its own."""
    os.execvp("unshare", ["unshare", "--net", sys.executable, *arguments])


def _run(*command: str) -> None:
    child_processes.run(command, check=True, timeout=10)
