"""`headrace-server up`: a lab, the API, the portal and the workers on one machine, and a login link for each person."""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
from fastapi import FastAPI

from headrace_server.app import build, join
from headrace_server.clusters import ClusterSettings
from headrace_server.identity import Role
from headrace_server.kernel import Broken, Conflict
from headrace_server.serve import serve
from headrace_server.settings import Settings, SettingsInvalid, read_settings, settings_of

READY_WITHIN_S = 60


class AlreadyUp(Conflict):
    """This Headrace is already up."""

    code = "already-up"


class NoLab(Broken):
    """The lab could not be brought up."""

    code = "no-lab"


class NotReady(Broken):
    """The server did not become ready."""

    code = "not-ready"


@dataclass(frozen=True)
class Elsewhere:
    """A cluster that is not a lab: its slurmrestd, its JWT key, where its users' files are, and who may log in."""

    slurmrestd: str
    jwt_key: Path | None
    login_host: str | None
    ssh_ca_key: Path | None
    known_hosts: Path | None
    users: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """What `up` was asked for."""

    lab: str
    slurm: str
    nodes: int
    elsewhere: Elsewhere | None
    listen: str | None
    config: Path | None


@dataclass(frozen=True)
class Site:
    """A cluster and the people who may log in, each with a role."""

    cluster: ClusterSettings
    people: dict[str, Role]


def up(wish: Wish, *, detach: bool) -> None:
    """Bring everything up; serve until interrupted, or, detached, return when it is ready."""
    settings = read_settings(wish.config)
    if wish.listen:
        settings = msgspec.structs.replace(settings, listen=wish.listen)
    site = _elsewhere(wish.elsewhere) if wish.elsewhere else _lab(wish)
    settings = msgspec.structs.replace(settings, clusters=(site.cluster,))
    settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if detach:
        _detach(settings)
        links = asyncio.run(_login_links(settings, site))
        _welcome(settings, site, links)
        return
    with _only_one(settings.state):
        links = asyncio.run(_login_links(settings, site))
        _welcome(settings, site, links)
        asyncio.run(serve(_application(settings), settings))


def down(state: Path) -> None:
    """Stop a detached server: ask, wait, and only then insist."""
    lock = state / "up.lock"
    try:
        pid = int(lock.read_text())
    except (OSError, ValueError):
        print("Headrace is not up.")
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not _is_held(lock):
                break
            time.sleep(0.1)
        else:
            os.kill(pid, signal.SIGKILL)
    print("Headrace is down. Runs go on; the lab too (`slurmlab down` stops it).")


def _application(settings: Settings) -> FastAPI:
    # One process holds up.lock, so its leases may have a fixed holder: after kill -9 the next start need not wait.
    return build(settings, holder="up")


def _elsewhere(there: Elsewhere) -> Site:
    if there.jwt_key is None:
        raise SettingsInvalid("--slurmrestd needs --jwt-key, the key that the cluster's tokens are signed with.")
    if not there.users:
        raise SettingsInvalid("--slurmrestd needs at least one --user who may log in.")
    host, _, port = (there.login_host or "").partition(":")
    cluster = ClusterSettings(
        name="cluster",
        slurmrestd_url=there.slurmrestd,
        jwt_key_file=there.jwt_key,
        login_host=host or None,
        login_port=int(port or 22),
        ssh_ca_key_file=there.ssh_ca_key,
        ssh_known_hosts_file=there.known_hosts,
    )
    return Site(cluster, dict.fromkeys(there.users, "user"))


def _lab(wish: Wish) -> Site:
    try:
        from slurmlab import Lab, LabConfig, LabError  # noqa: PLC0415 - an extra: a site that has Slurm needs no lab
    except ImportError as error:
        raise NoLab("slurmlab is not installed.", fix="Install headrace-server[lab], or give --slurmrestd.") from error
    try:
        config = LabConfig(name=wish.lab, slurm=wish.slurm, nodes=wish.nodes)
        lab = Lab.up(config, say=print)
    except LabError as error:
        raise NoLab(str(error), fix="See what this machine lacks with: slurmlab doctor") from error
    host, port = lab.ssh_address
    cluster = ClusterSettings(
        name=lab.name,
        slurmrestd_url=lab.slurmrestd_url,
        jwt_key_file=lab.jwt_key_path,
        login_host=host,
        login_port=port,
        ssh_ca_key_file=lab.ssh_ca_key_path,
        ssh_known_hosts_file=lab.ssh_known_hosts_path,
    )
    return Site(cluster, {user.name: "operator" if user.role == "operator" else "user" for user in config.site.users})


async def _login_links(settings: Settings, site: Site) -> dict[str, str]:
    house = join(settings)
    try:
        await house.database.migrate()
        await house.identity.ensure_accounts(site.people)
        return {
            name: f"{settings.base_url}/login/{await house.identity.issue_login_link(name)}" for name in site.people
        }
    finally:
        await house.close()


def _welcome(settings: Settings, site: Site, links: dict[str, str]) -> None:
    width = max(len(name) for name in links)
    print(f"\nHeadrace is at {settings.base_url}, cluster {site.cluster.name} ({site.cluster.slurmrestd_url}).")
    print("Each of these links logs one person in, once:\n")
    for name, link in links.items():
        print(f"  {name:<{width}}  {link}")
    print("\nIn a terminal: headrace login LINK, then headrace run -- hostname\n", flush=True)


def _detach(settings: Settings) -> None:
    """Start this program again in the background, with the settings in a file, and wait until it is ready."""
    file, wanted = settings.state / "up.json", msgspec.json.encode(settings, enc_hook=str)
    if _is_held(settings.state / "up.lock"):
        if file.exists() and file.read_bytes() == wanted:
            print("Headrace is already up.")
            return
        raise AlreadyUp(f"Another Headrace uses {settings.state}.", fix="Stop it with: headrace-server down")
    file.write_bytes(wanted)
    log = (settings.state / "server.log").open("ab")
    argv = [sys.executable, "-m", "headrace_server.up", str(file)]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    host, port = settings.address
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(URLError, OSError), urlopen(f"http://{host}:{port}/readyz", timeout=2) as answer:
            if answer.status == 200 and _is_held(settings.state / "up.lock"):
                return
        time.sleep(0.1)
    tail = "\n".join((settings.state / "server.log").read_text(errors="replace").splitlines()[-8:])
    raise NotReady(f"The server did not become ready on {settings.listen}:\n{tail}")


@contextlib.contextmanager
def _only_one(state: Path) -> Generator[None]:
    """Hold the state folder's lock, or raise AlreadyUp."""
    with (state / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUp(f"Another Headrace uses {state}.", fix="Stop it with: headrace-server down") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _serve_detached(file: Path) -> None:
    settings = settings_of(json.loads(file.read_text()), str(file))
    with _only_one(settings.state):
        asyncio.run(serve(_application(settings), settings))


if __name__ == "__main__":
    _serve_detached(Path(sys.argv[1]))
