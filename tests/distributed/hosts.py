"""Hosts of their own on one machine: network namespaces, each with an address on a bridge between them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from contextlib import ExitStack, contextmanager, suppress

INTERFACE = "eth0"


def why_not():
    """Return why there can be no namespaces here, or None where there can."""
    if shutil.which("ip") is None:
        return "there is no `ip` command (iproute2)"
    name = f"psprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"`ip netns add` is not permitted: {made.stderr.strip()}"
    linked = subprocess.run(["ip", "link", "add", f"{name}b", "type", "bridge"], capture_output=True, check=False)
    run("ip", "netns", "del", name)
    if linked.returncode:
        return "`ip link add ... type bridge` is not permitted"
    run("ip", "link", "del", f"{name}b")
    return None


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


class Host:
    """A namespace with an address."""

    def __init__(self, name, address, port):
        self.name, self.address, self.port = name, address, port

    def command(self, *command):
        """Return a command that runs there."""
        return ["ip", "netns", "exec", self.name, *command]

    def remove(self):
        """End what still runs there, and then the host."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        for pid in pids.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", self.name)

    def unplug(self):
        """Cut it off: packets vanish, as when a machine loses its power."""
        run("ip", "link", "set", self.port, "down")


@contextmanager
def hosts(number):
    """Make so many hosts on one network; nothing of them is left after the block."""
    tag = uuid.uuid4().hex[:5]
    bridge = f"psb{tag}"
    with ExitStack() as stack:
        run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(run, "ip", "link", "del", bridge)
        run("ip", "link", "set", bridge, "up")
        made = []
        for k in range(number):
            host = Host(f"psh{tag}{k}", f"10.213.7.{k + 1}", f"psv{tag}{k}")
            run("ip", "netns", "add", host.name)
            stack.callback(host.remove)
            run("ip", "link", "add", host.port, "type", "veth", "peer", "name", INTERFACE, "netns", host.name)
            run("ip", "link", "set", host.port, "master", bridge, "up")
            run(*host.command("ip", "address", "add", f"{host.address}/24", "dev", INTERFACE))
            for interface in ("lo", INTERFACE):
                run(*host.command("ip", "link", "set", interface, "up"))
            made.append(host)
        yield made
