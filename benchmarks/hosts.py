"""Simulated hosts: each has its own network address, processes, home, /tmp and sshd. Needs root, ip and sshd.

A host is a set of Linux namespaces, which can lose its network or its power. All hosts share one folder, like machines
that mount the same file server, and the software installed on this machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK = "10.77.0"
BRIDGE = "vicc-br"
SHARED = Path("/mnt/shared")
"""Mount point of the shared folder on the hosts."""
HOME = Path("/home/vicc")
TOOLS = ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync")
START_S = 20.0


def missing() -> list[str]:
    """Requirements that this machine lacks; Debian packages: openssh-server, openssh-client, iproute2, rsync."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacks = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if os.geteuid() != 0:
        return ["root", *lacks]
    if not lacks:
        tried = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True)
        lacks += ["permission to create namespaces"] if tried.returncode else []
    return lacks


class Host:
    """One simulated host."""

    def __init__(self, folder: Path, name: str, number: int, visible: list[Path]) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        self.folder, self.visible = folder, visible
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the host; return once its sshd accepts connections."""
        self._connect_network()
        for place in ("home", "tmp"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "tmp" / "ray", ignore_errors=True)
        (self.folder / "home" / ".profile").write_text(". ~/.bashrc\n")
        (self.folder / "home" / ".bashrc").touch()
        passwd = Path("/etc/passwd").read_text().replace(":/root:", f":{HOME}:", 1)
        (self.folder / "passwd").write_text(passwd)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        command = ["ip", "netns", "exec", self.name, "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"]
        self.process = subprocess.Popen([*command, "--kill-child", "--mount-proc", "bash", "-euc", self._script()])
        end = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not start: its sshd does not answer")
            time.sleep(0.1)

    def _connect_network(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.name, "master", BRIDGE, "up")
        up = (f"addr add {self.address}/24 dev eth0", "link set eth0 up", "link set lo up")
        for command in (*up, f"route add default via {NETWORK}.1"):  # Ray asks for the route to find its own address
            ip("-n", self.name, *command.split())

    def _script(self) -> str:
        """Shell script of the host's first process."""
        keys = self.folder.parent / "keys"
        below_tmp = [
            (place, self.folder / "tmp" / place.relative_to("/tmp")) for place in self.visible if _hidden(place)
        ]
        binds = [f"mkdir -p {target}; mount --bind {place} {target}" for place, target in below_tmp]
        sshd = (
            f"/usr/sbin/sshd -D -e -f /dev/null -h {keys}/host -p 22 -o ListenAddress={self.address} -o UsePAM=no "
            f"-o AuthorizedKeysFile={keys}/client.pub -o StrictModes=no -o PasswordAuthentication=no "
            "-o PermitRootLogin=yes -o PidFile=none -o LogLevel=ERROR -o MaxStartups=100"
        )
        lines = [
            "mount --make-rprivate /",
            f"hostname {self.name}",
            "mount -t tmpfs tmpfs /run && mkdir /run/sshd",
            "mount -t tmpfs -o size=10g tmpfs /dev/shm",
            f"mount -t tmpfs tmpfs {SHARED.parent} && mkdir {SHARED}",
            f"mount --bind {self.folder.parent}/shared {SHARED}",
            f"mount -t tmpfs tmpfs {HOME.parent} && mkdir {HOME} && mount --bind {self.folder}/home {HOME}",
            f"mount --bind {self.folder}/passwd /etc/passwd",
            f"mount --bind {self.folder}/hosts /etc/hosts",
            *binds,
            f"mount --rbind {self.folder}/tmp /tmp",
            f"{sshd} 2>>{self.folder}/sshd.log & wait",
        ]
        return "\n".join(lines)

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.address, 22), 1.0).close()
        except OSError:
            return False
        return True

    def disconnect(self) -> None:
        """Disconnect the host from the network; its processes keep running."""
        ip("link", "set", self.name, "down")

    def reconnect(self) -> None:
        """Reconnect the host to the network."""
        ip("link", "set", self.name, "up")

    def power_off(self) -> None:
        """Kill all processes of the host at once; its disk is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        ip("netns", "delete", self.name, check=False)
        ip("link", "delete", self.name, check=False)

    def processes(self) -> list[str]:
        """Command lines of the host's processes."""
        if self.process is None:
            return []
        pids = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split()
        files = [Path(f"/proc/{pid}/cmdline") for pid in pids]
        return [file.read_bytes().replace(b"\0", b" ").decode(errors="replace") for file in files if file.exists()]


def _hidden(place: Path) -> bool:
    """Whether the host's /tmp hides this path."""
    return place.is_relative_to("/tmp")


@contextmanager
def hosts(folder: Path, names: list[str]) -> Iterator[dict[str, Host]]:
    """Run hosts while the block runs; their folders, ``shared`` and ``keys`` stay in ``folder``."""
    (folder / "shared").mkdir(parents=True, exist_ok=True)
    _make_keys(folder / "keys")
    # The virtual environment and the Python installation, which a host's /tmp could hide.
    visible = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[1], folder]
    machines = {name: Host(folder / name, name, number, visible) for number, name in enumerate(names, start=11)}
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for host in machines.values():
            host.start()
        yield machines
    finally:
        for host in machines.values():
            host.power_off()
        ip("link", "delete", BRIDGE, check=False)


def _make_keys(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("host", "client"):
        if not (folder / name).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)


def ip(*command: str, check: bool = True) -> None:
    """Call ``ip``.

    Raises:
        RuntimeError: with the error output of a failed call.
    """
    done = subprocess.run(["ip", *command], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(command)}: {done.stderr.strip()}")
