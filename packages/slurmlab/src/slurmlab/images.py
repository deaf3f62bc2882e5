"""The images that hosts start from, built once a Slurm release from Debian's packages."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from slurmlab.config import RELEASES, SlurmRelease
from slurmlab.engine import Engine
from slurmlab.errors import ImageBuildFailed, PrerequisiteMissing
from slurmlab.registry import debian_image
from slurmlab.state import locked

Say = Callable[[str], None]

REPOSITORY = "localhost/slurmlab"
CONTEXT_FILES = (
    "login.Containerfile",
    "slurm.Containerfile",
    "apt.conf",
    "dpkg.cfg",
    "mariadb.cnf",
    "slurmdbd-init.conf",
    "accounting-database",
)
BUILD_TIMEOUT_S = 1200.0


@dataclass(frozen=True, slots=True)
class Image:
    """One built image."""

    release: str
    reference: str
    size_mib: int
    current: bool
    """Whether this slurmlab would use it; an older slurmlab's image is kept until `image rm`."""


def image_names(release: SlurmRelease) -> tuple[str, str]:
    """References of the login image and the Slurm image of a release; they change with what they are built from."""
    tag = f"{release.version}-{_digest(CONTEXT_FILES)}"
    return f"{REPOSITORY}/login:{tag}", f"{REPOSITORY}/slurm:{tag}"


def ensure_images(engine: Engine, release: SlurmRelease, say: Say, *, rebuild: bool = False) -> tuple[str, str]:
    """Build the images of a release unless they are there; returns their references.

    Two callers at once do not collide: the second waits for the first and finds its images.
    Raises ImageBuildFailed with the end of the build's output.
    """
    login, slurm = image_names(release)
    if not rebuild and _exists(engine, login) and _exists(engine, slurm):
        return login, slurm
    with locked(f"image-{release.version}", say):
        if not rebuild and _exists(engine, login) and _exists(engine, slurm):
            return login, slurm
        started = time.monotonic()
        base = _base_image(engine, release, say, rebuild=rebuild)
        with tempfile.TemporaryDirectory(prefix="slurmlab-image-") as context:
            _write_context(Path(context))
            options = ["--no-cache"] if rebuild else []
            _build(engine, release, base, "login", login, [*options, "--force-rm", context], say)
            _build(engine, release, login, "slurm", slurm, [*options, "--force-rm", context], say)
        say(f"image for Slurm {release.version} built in {time.monotonic() - started:.0f} s")
    return login, slurm


def list_images(engine: Engine) -> list[Image]:
    """Every Slurm image on this machine, current or left by another slurmlab."""
    out = engine.call("images", "--format", "{{.Repository}}:{{.Tag}}\t{{.Size}}")
    current = {name for release in RELEASES.values() for name in image_names(release)}
    images: list[Image] = []
    for line in out.splitlines():
        reference, _, size = line.partition("\t")
        name = reference.removeprefix("localhost/")
        if name.startswith("slurmlab/slurm:"):
            version = name.partition(":")[2].partition("-")[0]
            images.append(Image(version, reference, _mib(size), reference in current))
    return images


def remove_images(engine: Engine, version: str | None, *, old_only: bool = False) -> list[str]:
    """Remove images (of one release, or all); returns the references removed. A running lab keeps its own."""
    out = engine.call("images", "--format", "{{.Repository}}:{{.Tag}}")
    current = {name for release in RELEASES.values() for name in image_names(release)}
    removed: list[str] = []
    for reference in sorted(out.splitlines(), reverse=True):
        kind, _, tag = reference.removeprefix("localhost/").partition(":")
        if kind not in {"slurmlab/slurm", "slurmlab/login", "slurmlab/base"}:
            continue
        if version and tag.partition("-")[0] not in {version, RELEASES[version].suite}:
            continue
        if old_only and (reference in current or kind == "slurmlab/base"):
            continue
        if engine.attempt("rmi", reference).returncode == 0:
            removed.append(reference)
    return removed


def debian_mirror() -> str | None:
    """The mirror this machine installs Debian packages from, out of its own apt sources; None where it has none."""
    if chosen := os.environ.get("SLURMLAB_MIRROR"):
        return chosen
    if not shutil.which("apt-get"):
        return None
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(SITE)|$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        origin, label, _, uri = [*line.split("|"), "", "", ""][:4]
        if origin == "Debian" and label == "Debian":
            return uri.rstrip("/")
    return None


def _digest(names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(files("slurmlab").joinpath("image", name).read_bytes())
    return digest.hexdigest()[:10]


def _exists(engine: Engine, reference: str) -> bool:
    return engine.attempt("image", "inspect", "--format", "{{.Id}}", reference).returncode == 0


def _host_apt_settings() -> list[str]:
    """The host's own apt settings that decide whether its mirror can be used at all: proxies and date checks."""
    if not shutil.which("apt-config"):
        return []
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-Date ")
    return [line for line in dump.splitlines() if line.startswith(wanted) and not line.endswith('"";')]


def _write_context(context: Path) -> None:
    for name in CONTEXT_FILES:
        (context / name).write_bytes(files("slurmlab").joinpath("image", name).read_bytes())
    with (context / "apt.conf").open("a") as file:
        file.writelines(f"{line}\n" for line in _host_apt_settings())


def _base_image(engine: Engine, release: SlurmRelease, say: Say, *, rebuild: bool) -> str:
    """Debian's own image where a registry can be reached, else one made by mmdebstrap."""
    base = f"{REPOSITORY}/base:{release.suite}-{_digest(('apt.conf', 'dpkg.cfg'))}"
    if _exists(engine, base) and not rebuild:
        return base
    if registry := debian_image(engine, release.suite):
        say(f"base image: pulling {registry}")
        if engine.attempt("pull", registry, timeout_s=120).returncode == 0:
            engine.call("tag", registry, base)
            return base
    _debootstrap(engine, release, base, say)
    return base


def _debootstrap(engine: Engine, release: SlurmRelease, base: str, say: Say) -> None:
    mmdebstrap = shutil.which("mmdebstrap")
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not mmdebstrap or not keyring.exists():
        raise PrerequisiteMissing(
            "No container registry can be reached, and building the base image here needs mmdebstrap and "
            "debian-archive-keyring. Run: slurmlab doctor --fix"
        )
    say(f"base image: no registry reachable, building Debian {release.suite} with mmdebstrap")
    own = files("slurmlab").joinpath("image", "apt.conf").read_text().splitlines()
    options = [line for line in own if line and not line.startswith("//")] + _host_apt_settings()
    argv = [mmdebstrap, "--quiet", "--variant=apt", f"--keyring={keyring}"]
    argv += [f"--aptopt={option.rstrip(';')}" for option in options]
    for line in files("slurmlab").joinpath("image", "dpkg.cfg").read_text().splitlines():
        if line and not line.startswith("#"):
            argv.append(f"--dpkgopt={line}")
    with tempfile.TemporaryDirectory(prefix="slurmlab-base-") as directory:
        tar = Path(directory) / "base.tar"
        argv += [release.suite, str(tar)]
        if mirror := debian_mirror():
            argv.append(f"deb {mirror} {release.suite} main")
        _run_build(argv, "mmdebstrap", say)
        engine.call("import", str(tar), base, timeout_s=300)


def _build(engine: Engine, release: SlurmRelease, base: str, kind: str, tag: str, options: list[str], say: Say) -> None:
    """Build one image; `options` end with the build context."""
    say(f"{kind} image: installing packages")
    argv = [*engine.argv, "build", "--network", "host", *engine.ulimits, "--tag", tag]
    argv += ["--build-arg", f"BASE={base}"]
    if kind == "login":
        argv += ["--build-arg", f"SUITE={release.suite}"]
        if mirror := debian_mirror():
            argv += ["--build-arg", f"MIRROR={mirror}"]
    argv += ["--file", f"{options[-1]}/{kind}.Containerfile", *options]
    _run_build(argv, f"the {kind} image", say)


def _run_build(argv: list[str], what: str, say: Say) -> None:
    """Run a long build, saying once in a while that it goes on, and keep its output for the case that it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        while True:
            try:
                status = process.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                elapsed_s = time.monotonic() - started
                if elapsed_s > BUILD_TIMEOUT_S:
                    process.kill()
                say(f"{what}: still at it after {elapsed_s:.0f} s")
        if status != 0:
            output.seek(0)
            tail = output.read().decode(errors="replace").splitlines()[-25:]
            raise ImageBuildFailed(f"Building {what} failed (exit status {status}):\n" + "\n".join(tail))


def _mib(size: str) -> int:
    number, unit = "".join(c for c in size if c.isdigit() or c == "."), size.lstrip("0123456789. ")
    scale = {"B": 1 / 2**20, "kB": 1e3 / 2**20, "MB": 1e6 / 2**20, "GB": 1e9 / 2**20}
    return int(float(number or 0) * scale.get(unit, 0))
