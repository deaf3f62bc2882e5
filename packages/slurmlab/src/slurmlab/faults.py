"""Faults on request, each with its undo: a method a change, and a context manager that takes it back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slurmlab.errors import EngineError, OrderFailed

if TYPE_CHECKING:
    from slurmlab.lab import Lab

READY_TIMEOUT_S = 30.0
DAEMON_HOSTS = {
    "mariadbd": "controller",
    "slurmdbd": "controller",
    "slurmctld": "controller",
    "slurmrestd": "controller",
    "sshd": "login",
}
SLOW_DISK = "slow-disk"
# What only a disk answers. A question mark lets strace skip a call that the machine's architecture does not have.
DISK_CALLS = "fsync,fdatasync,pwrite64,ftruncate,?rename,?renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat"

_FILL = """
set -e
dir=$1; disk=/run/slurmlab-full-disk
[ ! -e "$disk" ] || { echo "a disk of this host is full already: free it first" >&2; exit 1; }
mkdir "$disk"
used=$(du -sk "$dir" | cut -f1)
mount -t tmpfs -o "size=$((used + 512))k" tmpfs "$disk"
cp -a "$dir/." "$disk/"
chown --reference="$dir" "$disk"; chmod --reference="$dir" "$disk"
dd if=/dev/zero of="$disk/.filler" bs=4k 2>/dev/null || true
mount --bind "$disk" "$dir"
echo "$dir" > /run/slurmlab-full-disk.of
"""
_FREE = """
set -e
disk=/run/slurmlab-full-disk
[ -e "$disk" ] || { echo "no disk of this host was filled" >&2; exit 1; }
dir=$(cat /run/slurmlab-full-disk.of)
umount -l "$dir"
rm -f "$disk/.filler"
find "$dir" -mindepth 1 -delete
cp -a "$disk/." "$dir/"
umount -l "$disk"; rmdir "$disk"; rm /run/slurmlab-full-disk.of
"""


class Faults:
    """The faults of one lab. Methods make or undo one; the context managers below do both."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    # -- whole hosts

    def kill_host(self, host: str) -> None:
        """Pull the plug: every process of the host dies at once. Undo: `start_host`."""
        self._lab.engine_call("kill", host)

    def pause_host(self, host: str) -> None:
        """Freeze every process of the host; its connections stay open. Undo: `resume_host`."""
        self._lab.engine_call("pause", host)

    def resume_host(self, host: str) -> None:
        """Let a paused host go on."""
        self._lab.engine_call("unpause", host)

    def start_host(self, host: str) -> None:
        """Switch a killed host on again and wait until its daemons are ready."""
        self._lab.engine_call("start", host)
        self._lab.wait_ready(host, READY_TIMEOUT_S)

    # -- its network

    def cut_network(self, host: str) -> None:
        """Unplug the host's cable: packets are lost in both directions, nothing is refused. Undo: `heal_network`."""
        self._lab.privileged(host, ["ip", "link", "set", "eth0", "down"])

    def heal_network(self, host: str) -> None:
        """Plug the cable in again."""
        self._lab.privileged(host, ["ip", "link", "set", "eth0", "up"])
        self._lab.privileged(host, ["ip", "route", "replace", "default", "via", self._lab.gateway, "dev", "eth0"])

    # -- one daemon

    def stop_daemon(self, daemon: str, host: str | None = None) -> None:
        """Stop a daemon as an operator would (SIGTERM). Undo: `start_daemon`."""
        self._daemon("stop", daemon, host)

    def kill_daemon(self, daemon: str, host: str | None = None) -> None:
        """Kill a daemon (SIGKILL). Undo: `start_daemon`."""
        self._daemon("kill", daemon, host)

    def pause_daemon(self, daemon: str, host: str | None = None) -> None:
        """Stop a daemon in mid-work (SIGSTOP); the kernel still accepts its connections. Undo: `resume_daemon`."""
        self._daemon("pause", daemon, host)

    def resume_daemon(self, daemon: str, host: str | None = None) -> None:
        """Let a paused daemon go on."""
        self._daemon("resume", daemon, host)

    def start_daemon(self, daemon: str, host: str | None = None) -> None:
        """Start a daemon and wait until it is ready; does nothing to one that runs."""
        self._daemon("start", daemon, host)

    # -- its disk

    def fill_disk(self, host: str, path: str | None = None) -> None:
        """Make the host's spool directory (or `path`) a disk with no byte free. Undo: `free_disk`.

        The spool is slurmctld's state on the controller, slurmd's on a compute host, /tmp on the login host. The
        daemons are stopped for the moment in which their directory moves.
        """
        self._with_daemons_still(host, ["sh", "-c", _FILL, "fill", path or _spool(host)])

    def free_disk(self, host: str) -> None:
        """Give the disk its space again; what was written meanwhile is kept."""
        self._with_daemons_still(host, ["sh", "-c", _FREE, "free"])

    def slow_disk(self, host: str, delay_ms: int = 200) -> None:
        """Make every disk call of the host's daemons and their jobs take `delay_ms` longer. Undo: `normal_disk`.

        Holds for the daemons that run now and what they start; one started later is as fast as ever.
        """
        pids = [str(s.pid) for s in self._lab.services(host) if s.pid is not None and s.name != SLOW_DISK]
        argv = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={DISK_CALLS}"]
        argv += ["-e", f"inject={DISK_CALLS}:delay_enter={delay_ms * 1000}"]
        for pid in pids:
            argv += ["-p", pid]
        self._lab.order(host, {"op": "add", "service": SLOW_DISK, "spec": {"name": SLOW_DISK, "argv": argv}})

    def normal_disk(self, host: str) -> None:
        """Take the delay away."""
        self._lab.order(host, {"op": "remove", "service": SLOW_DISK})

    # -- with their undo

    @contextmanager
    def host_killed(self, host: str) -> Generator[None]:
        """The host is off inside the block and on again after it."""
        self.kill_host(host)
        try:
            yield
        finally:
            self.start_host(host)

    @contextmanager
    def host_paused(self, host: str) -> Generator[None]:
        """The host is frozen inside the block."""
        self.pause_host(host)
        try:
            yield
        finally:
            self.resume_host(host)

    @contextmanager
    def network_cut(self, host: str) -> Generator[None]:
        """The host is unplugged inside the block."""
        self.cut_network(host)
        try:
            yield
        finally:
            self.heal_network(host)

    @contextmanager
    def daemon_stopped(self, daemon: str, host: str | None = None) -> Generator[None]:
        """The daemon was asked to end, and is started again after the block."""
        self.stop_daemon(daemon, host)
        try:
            yield
        finally:
            self.start_daemon(daemon, host)

    @contextmanager
    def daemon_killed(self, daemon: str, host: str | None = None) -> Generator[None]:
        """The daemon was killed, and is started again after the block."""
        self.kill_daemon(daemon, host)
        try:
            yield
        finally:
            self.start_daemon(daemon, host)

    @contextmanager
    def daemon_paused(self, daemon: str, host: str | None = None) -> Generator[None]:
        """The daemon stands still inside the block."""
        self.pause_daemon(daemon, host)
        try:
            yield
        finally:
            self.resume_daemon(daemon, host)

    @contextmanager
    def disk_full(self, host: str, path: str | None = None) -> Generator[None]:
        """The host's spool has no byte free inside the block."""
        self.fill_disk(host, path)
        try:
            yield
        finally:
            self.free_disk(host)

    @contextmanager
    def disk_slow(self, host: str, delay_ms: int = 200) -> Generator[None]:
        """The host's disk is slow inside the block."""
        self.slow_disk(host, delay_ms)
        try:
            yield
        finally:
            self.normal_disk(host)

    # -- private

    def _daemon(self, op: str, daemon: str, host: str | None) -> dict[str, Any]:
        where = host or DAEMON_HOSTS.get(daemon)
        if where is None:
            raise OrderFailed(f"{daemon} runs on several hosts: say which one, such as c1.")
        return self._lab.order(where, {"op": op, "service": daemon}, timeout_s=READY_TIMEOUT_S)

    def _with_daemons_still(self, host: str, argv: list[str]) -> None:
        running = [s.name for s in self._lab.services(host) if s.state == "ready" and s.name.startswith("slurm")]
        for name in running:
            self.pause_daemon(name, host)
        try:
            self._lab.privileged(host, argv)
        except EngineError as error:
            raise OrderFailed(f"The disk of {host} could not be changed: {error}") from error
        finally:
            for name in running:
                self.resume_daemon(name, host)


def _spool(host: str) -> str:
    return {"controller": "/var/spool/slurmctld", "login": "/tmp"}.get(host, "/var/spool/slurmd")  # noqa: S108
