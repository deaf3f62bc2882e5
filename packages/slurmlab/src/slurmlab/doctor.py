"""What this machine needs before a lab can run on it: each prerequisite, whether it is met, and the fix."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slurmlab.config import DEFAULT_RELEASE, RELEASES
from slurmlab.engine import Engine, find_engine, require_network
from slurmlab.errors import LabError, PrerequisiteMissing
from slurmlab.images import debian_mirror
from slurmlab.registry import debian_image

FREE_DISK_GIB = 3
ENGINE_PACKAGES = ("podman", "runc", "netavark", "aardvark-dns", "iptables", "nftables")
BASE_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
ROOTLESS_PACKAGES = ("uidmap", "slirp4netns", "fuse-overlayfs", "dbus-user-session")
NETAVARK = ("/usr/lib/podman/netavark", "/usr/libexec/podman/netavark")


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite: whether it is met, in a sentence, and what to do where it is not."""

    topic: str
    ok: bool
    sentence: str
    fix: str = ""
    packages: tuple[str, ...] = ()
    """Debian packages that would meet it."""


def examine() -> list[Finding]:
    """Look at every prerequisite; changes nothing that stays."""
    findings = [_engine(), _runtime(), _network_tools(), _base_image(), _limits(), _disk()]
    if os.geteuid() != 0:
        findings.append(_rootless())
    if all(f.ok for f in findings):
        findings.append(_network())
    return findings


def fix(findings: list[Finding], say: Callable[[str], None]) -> None:
    """Install the packages that the findings name, as root or through sudo. Raises PrerequisiteMissing if it cannot."""
    packages = sorted({p for f in findings if not f.ok for p in f.packages})
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise PrerequisiteMissing(f"There is no apt-get here; install these with your package manager: {packages}.")
    prefix: list[str] = []
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise PrerequisiteMissing(f"Installing packages needs root or sudo. As root: apt-get install {packages}.")
        prefix = ["sudo"]
    say(f"installing {' '.join(packages)}")
    for argv in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(
            [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", *argv], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
            raise PrerequisiteMissing(f"{' '.join(argv[:2])} failed:\n{tail}")
    find_engine.cache_clear()


def _engine() -> Finding:
    try:
        engine = find_engine()
    except PrerequisiteMissing:
        return Finding(
            "container engine",
            ok=False,
            sentence="Neither podman nor a running docker was found.",
            fix="Install podman.",
            packages=ENGINE_PACKAGES,
        )
    return Finding("container engine", ok=True, sentence=f"{engine.kind}{' (rootless)' if engine.rootless else ''}.")


def _runtime() -> Finding:
    hybrid = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    if _uses_docker():
        return Finding("runtime", ok=True, sentence="Docker brings its own.")
    if hybrid and not shutil.which("runc"):
        return Finding(
            "runtime",
            ok=False,
            sentence="This machine's cgroups are v1 or hybrid, which crun refuses.",
            fix="Install runc.",
            packages=("runc",),
        )
    if not shutil.which("runc") and not shutil.which("crun"):
        return Finding(
            "runtime", ok=False, sentence="Podman has no OCI runtime.", fix="Install runc.", packages=("runc",)
        )
    if hybrid and os.geteuid() != 0:
        return Finding(
            "runtime", ok=True, sentence="runc; without root on cgroup v1 a host cannot be paused (daemons can)."
        )
    return Finding("runtime", ok=True, sentence="runc." if hybrid else "cgroup v2; crun or runc.")


def _network_tools() -> Finding:
    if _uses_docker():
        return Finding("network tools", ok=True, sentence="Docker brings its own.")
    lacking = [] if any(Path(p).exists() for p in NETAVARK) else ["netavark"]
    # Not every user has sbin in the path; the tools run as root all the same.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking += [
        package
        for package, tool in (("iptables", "iptables"), ("nftables", "nft"))
        if not shutil.which(tool, path=path)
    ]
    if lacking:
        return Finding(
            "network tools",
            ok=False,
            sentence=f"Podman's networks need {', '.join(lacking)}.",
            fix=f"Install {', '.join(lacking)}.",
            packages=tuple(lacking),
        )
    return Finding("network tools", ok=True, sentence="netavark, iptables and nft are there.")


def _base_image() -> Finding:
    if _registry_answers():
        return Finding("base image", ok=True, sentence="A container registry can be reached.")
    lacking = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        lacking.append("debian-archive-keyring")
    if lacking:
        return Finding(
            "base image",
            ok=False,
            sentence=f"No container registry can be reached, and {', '.join(lacking)} to build one here is missing.",
            fix=f"Install {', '.join(lacking)}.",
            packages=tuple(lacking),
        )
    mirror = "this machine's own Debian mirror" if debian_mirror() else "Debian's default mirror"
    return Finding("base image", ok=True, sentence=f"No registry; mmdebstrap will build it from {mirror}.")


def _registry_answers() -> bool:
    try:
        return debian_image(find_engine(), RELEASES[DEFAULT_RELEASE].suite) is not None
    except PrerequisiteMissing:
        return False


def _limits() -> Finding:
    try:
        limits = find_engine().ulimits
    except PrerequisiteMissing:
        return Finding("limits", ok=True, sentence="Not looked at without an engine.")
    files = int(limits[1].split(":")[1])
    if files < 4096:
        return Finding(
            "limits",
            ok=False,
            sentence=f"Only {files} open files are allowed; Slurm's daemons want 4096.",
            fix="Raise the hard limit (ulimit -Hn).",
        )
    return Finding("limits", ok=True, sentence=f"{files} open files a host.")


def _disk() -> Finding:
    place = Path("/var/lib") if os.geteuid() == 0 else Path.home()
    free_gib = shutil.disk_usage(place).free / 2**30
    if free_gib < FREE_DISK_GIB:
        return Finding(
            "disk",
            ok=False,
            sentence=f"{free_gib:.1f} GiB free in {place}; images need about {FREE_DISK_GIB}.",
            fix="Make room, or remove old images: slurmlab image rm --old",
        )
    return Finding("disk", ok=True, sentence=f"{free_gib:.0f} GiB free in {place}.")


def _rootless() -> Finding:
    user = pwd.getpwuid(os.geteuid()).pw_name
    if not shutil.which("newuidmap"):
        return Finding(
            "rootless",
            ok=False,
            sentence="Without root, user ids are mapped by newuidmap, which is missing.",
            fix="Install uidmap, or run slurmlab as root.",
            packages=ROOTLESS_PACKAGES,
        )
    for file, names in (
        ("/etc/subuid", {user, str(os.geteuid())}),
        ("/etc/subgid", {user, _group(), str(os.getegid())}),
    ):
        path = Path(file)
        lines = path.read_text().splitlines() if path.exists() else []
        sizes = [int(line.split(":")[2]) for line in lines if line.split(":")[0] in names]
        # Slurm's own user id on Debian is 64030.
        if sum(sizes) < 65536:
            return Finding(
                "rootless",
                ok=False,
                sentence=f"{file} gives '{user}' {sum(sizes)} ids; a lab needs 65536.",
                fix=f"As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
            )
    return Finding("rootless", ok=True, sentence=f"'{user}' has its range of user ids.")


def _network() -> Finding:
    """Make and remove a network: the one thing that kernels and sandboxes refuse without saying so beforehand."""
    name = f"slurmlab-doctor-{os.getpid()}"
    try:
        engine: Engine = find_engine()
        require_network(engine)
        engine.call("network", "create", name)
        engine.call("network", "rm", name)
    except LabError as error:
        return Finding("network", ok=False, sentence=str(error), fix="Run slurmlab as root, or allow bridges here.")
    return Finding("network", ok=True, sentence="A network of its own can be made.")


def _uses_docker() -> bool:
    try:
        return find_engine().kind == "docker"
    except PrerequisiteMissing:
        return False


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name
