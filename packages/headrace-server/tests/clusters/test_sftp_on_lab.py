"""Files through the login host of a real lab, as its users."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from headrace_server.clusters import (
    ClusterSettings,
    FileDenied,
    FileMissing,
    FileRefused,
    FilesUnavailable,
    PathInvalid,
    SftpFiles,
)
from headrace_server.clusters.files import certificates
from headrace_server.clusters.files.connections import Connections
from headrace_server.kernel import SystemClock, UserNameInvalid, new_id
from slurmlab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture
async def files(settings: ClusterSettings) -> AsyncGenerator[SftpFiles]:
    files = SftpFiles(settings, SystemClock())
    yield files
    await files.close()


@pytest.fixture
def folder() -> str:
    """A folder name, relative to a home, that no other test uses."""
    return f"headrace/{new_id()}"


async def stat_line(slurm_lab: Lab, path: str, what: str = "%U %a %s") -> str:
    done = await asyncio.to_thread(slurm_lab.exec, "login", ["stat", "-c", what, path])
    return done.stdout.strip()


async def test_what_is_written_is_the_users_and_has_its_mode(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    await files.write("ada", f"{folder}/run/script.sh", b"#!/bin/sh\n", 0o750)
    assert await stat_line(slurm_lab, f"/home/ada/{folder}/run/script.sh") == "ada 750 10"
    assert (
        await stat_line(slurm_lab, f"/home/ada/{folder}/run")
        == f"ada 700 {(await stat_line(slurm_lab, f'/home/ada/{folder}/run')).split()[-1]}"
    )
    chunk = await files.read("ada", f"{folder}/run/script.sh", 0, 100)
    assert (chunk.data, chunk.size) == (b"#!/bin/sh\n", 10)
    listed = await asyncio.to_thread(slurm_lab.exec, "login", ["ls", "-A", f"/home/ada/{folder}/run"])
    assert listed.stdout.split() == ["script.sh"]


async def test_a_file_is_replaced_whole(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    path = f"/home/ada/{folder}/table"
    await files.write("ada", path, b"a" * 1_000_000, 0o600)
    await files.write("ada", path, b"b", 0o644)
    assert (await files.read("ada", path, 0, 10)).data == b"b"
    assert await stat_line(slurm_lab, path) == "ada 644 1"


async def test_a_line_from_a_compute_host_is_readable_at_once(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    path = f"/home/ada/{folder}/out.log"
    await files.write("ada", path, b"", 0o600)
    offset = 0
    for number in range(5):
        line = f"line {number}\n".encode()
        append = ["sh", "-c", 'echo "$1" >> "$2"', "sh", line.decode().strip(), path]
        await asyncio.to_thread(slurm_lab.exec, "c1", append, "ada")
        chunk = await files.read("ada", path, offset, 65536)
        assert chunk.data == line
        offset += len(chunk.data)
        assert chunk.size == offset
    assert (await files.read("ada", path, offset, 100)).data == b""
    assert (await files.read("ada", path, offset + 1000, 100)).data == b""


async def test_another_users_files_are_denied_by_every_road(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    secret = f"/home/ada/{folder}/secret"
    await files.write("ada", secret, b"mine", 0o600)
    # Even where the folders are open, the file's own mode counts.
    await asyncio.to_thread(slurm_lab.exec, "login", ["chmod", "-R", "a+rX", "/home/ada/headrace"], "ada")
    await asyncio.to_thread(slurm_lab.exec, "login", ["chmod", "a+x", "/home/ada"], "ada")
    await asyncio.to_thread(slurm_lab.exec, "login", ["chmod", "600", secret], "ada")
    await files.make_folder("bo", folder)
    await asyncio.to_thread(slurm_lab.exec, "login", ["ln", "-sfn", secret, f"/home/bo/{folder}/link"], "bo")
    for path in (secret, f"../ada/{folder}/secret", f"{folder}/link", f"/home/bo/../ada/{folder}/./secret"):
        with pytest.raises(FileDenied):
            await files.read("bo", path, 0, 100)
        assert (await files.read("ada", secret, 0, 100)).data == b"mine"
    for attempt in (files.write("bo", secret, b"no", 0o600), files.make_folder("bo", f"/home/ada/{folder}/x")):
        with pytest.raises(FileDenied):
            await attempt


async def test_what_a_user_may_read_in_a_shell_may_be_read(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    await files.write("ada", f"/home/ada/{folder}/shared", b"for all", 0o644)
    opened = ["chmod", "a+x", "/home/ada", "/home/ada/headrace", f"/home/ada/{folder}"]
    await asyncio.to_thread(slurm_lab.exec, "login", opened, "ada")
    assert (await files.read("bo", f"/home/ada/{folder}/shared", 4, 3)).data == b"all"


@pytest.mark.parametrize("name", ["a b", "$(touch x)", "'; rm -rf ~; '", 'q"q', "new\nline", "-rf", "*", "ü", "\udcff"])
async def test_a_name_is_only_a_name(files: SftpFiles, slurm_lab: Lab, folder: str, name: str) -> None:
    await files.write("ada", f"{folder}/{name}", name.encode("utf-8", "surrogateescape"), 0o600)
    assert (await files.read("ada", f"{folder}/{name}", 0, 100)).data == name.encode("utf-8", "surrogateescape")
    found = await asyncio.to_thread(
        slurm_lab.exec, "login", ["find", f"/home/ada/{folder}", "-type", "f", "-printf", "x"]
    )
    assert found.stdout == "x"


async def test_what_cannot_be_read_is_said(files: SftpFiles, folder: str) -> None:
    await files.make_folder("ada", folder)
    with pytest.raises(FileMissing):
        await files.read("ada", f"{folder}/none", 0, 1)
    with pytest.raises(FileMissing):
        await files.read("ada", "/etc/passwd/none", 0, 1)
    with pytest.raises(FileRefused, match="folder"):
        await files.read("ada", folder, 0, 1)
    with pytest.raises(FileRefused):
        await files.read("ada", "/dev/zero", 0, 1)
    with pytest.raises(PathInvalid):
        await files.read("ada", "a\0b", 0, 1)
    with pytest.raises(FileDenied):
        await files.read("ada", "/etc/shadow", 0, 1)


async def test_a_pipe_does_not_hold_the_server_up(files: SftpFiles, slurm_lab: Lab, folder: str) -> None:
    await files.make_folder("ada", folder)
    await asyncio.to_thread(slurm_lab.exec, "login", ["mkfifo", f"/home/ada/{folder}/pipe"], "ada")
    with pytest.raises(FileRefused):
        await files.read("ada", f"{folder}/pipe", 0, 1)


async def test_homes_and_existence(files: SftpFiles, folder: str) -> None:
    assert await files.home("ada") == "/home/ada"
    assert await files.home("chen") == "/home/chen"
    assert not await files.exists("ada", folder)
    await files.make_folder("ada", folder)
    await files.make_folder("ada", folder)
    assert await files.exists("ada", folder)
    with pytest.raises(FileRefused):
        await files.write("ada", folder, b"", 0o600)


async def test_nobody_is_acted_as_who_is_no_user(files: SftpFiles) -> None:
    for name in ("root", "../ada", "ada\nroot"):
        with pytest.raises(UserNameInvalid):
            await files.home(name)
    with pytest.raises(FilesUnavailable, match="does not let"):
        await files.home("nosuch")


async def test_another_authority_is_not_trusted(settings: ClusterSettings, tmp_path: Path) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "ca")  # pyright: ignore[reportUnknownMemberType]
    files = SftpFiles(replace(settings, ssh_ca_key_file=tmp_path / "ca"), SystemClock())
    with pytest.raises(FilesUnavailable, match="does not let"):
        await files.home("ada")
    await files.close()


async def test_a_host_with_another_key_is_not_spoken_to(settings: ClusterSettings, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()  # pyright: ignore[reportUnknownMemberType]
    known = tmp_path / "known_hosts"
    known.write_text(f"[{settings.login_host}]:{settings.login_port} {other}")
    files = SftpFiles(replace(settings, ssh_known_hosts_file=known), SystemClock())
    with pytest.raises(FilesUnavailable, match="not the host"):
        await files.home("ada")
    missing = SftpFiles(replace(settings, ssh_known_hosts_file=tmp_path / "none"), SystemClock())
    with pytest.raises(FilesUnavailable, match="missing"):
        await missing.home("ada")


async def test_connections_are_shared_closed_when_idle_and_bounded(settings: ClusterSettings) -> None:
    connections = Connections(settings, SystemClock(), most=2, idle_s=0.2)
    files = SftpFiles(settings, SystemClock(), connections)
    await asyncio.gather(*(files.home("ada") for _ in range(20)))
    assert connections.count == 1
    await files.home("bo")
    await files.home("chen")
    assert connections.count == 2
    async with connections.open("ada"), connections.open("bo"):
        with pytest.raises(FilesUnavailable, match="in use"):
            await files.home("chen")
    async with asyncio.timeout(10):
        while connections.count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await files.close()


async def test_no_session_outlives_its_certificate(settings: ClusterSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "VALID_S", certificates.BACKDATED_S + 2)
    connections = Connections(settings, SystemClock())
    async with connections.open("ada") as first:
        pass
    async with connections.open("ada") as again:
        assert again is first
    async with asyncio.timeout(10):
        while True:
            async with connections.open("ada") as later:
                if later is not first:
                    break
            await asyncio.sleep(0.1)
    assert await later.realpath(b".") == b"/home/ada"
    await connections.close()


async def test_a_login_host_that_is_down_is_said_quickly_and_recovers(files: SftpFiles, slurm_lab: Lab) -> None:
    assert await files.home("ada") == "/home/ada"
    broken = slurm_lab.fault.host_paused("login")
    await asyncio.to_thread(broken.__enter__)
    try:
        for user in ("ada", "bo", "chen"):
            async with asyncio.timeout(12):
                with pytest.raises(FilesUnavailable):
                    await files.home(user)
                with pytest.raises(FilesUnavailable):
                    await files.read(user, "/etc/hostname", 0, 10)
    finally:
        await asyncio.to_thread(broken.__exit__, None, None, None)
    async with asyncio.timeout(30):
        while True:
            try:
                assert await files.home("bo") == "/home/bo"
                break
            except FilesUnavailable:
                await asyncio.sleep(0.2)
