"""Pytest fixtures for real Slurm.

`slurm_lab` is a lab for the whole session, one for each release asked for with ``--slurm-version`` (or the ini value
``slurm_versions``); a test that takes it runs once on each. `slurm_lab_factory` makes labs of a test's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pytest

from slurmlab.config import DEFAULT_RELEASE, RELEASES, LabConfig

if TYPE_CHECKING:
    from slurmlab.lab import Lab

LabFactory = Callable[[LabConfig], "Lab"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the plugin."""
    group = parser.getgroup("slurmlab", "real Slurm clusters")
    group.addoption(
        "--slurm-version",
        action="append",
        default=[],
        choices=[*RELEASES, "all"],
        help="Slurm release for the slurm_lab fixture; may be given more than once; 'all' for every one.",
    )
    group.addoption("--slurm-nodes", type=int, default=2, help="Compute hosts of the session's lab (default 2).")
    group.addoption(
        "--slurm-lab-keep",
        action="store_true",
        help="Keep the session's lab, and use the one that an earlier session kept.",
    )
    parser.addini("slurm_versions", "Slurm releases for the slurm_lab fixture.", type="args", default=[])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that uses `slurm_lab`, directly or through another fixture, once on each release."""
    if "slurm_lab" in metafunc.fixturenames:
        metafunc.parametrize("slurm_lab", _versions(metafunc.config), indirect=True, scope="session")


@pytest.fixture(scope="session")
def slurm_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab that all tests of the session share, every node idle; removed at the end unless it is kept."""
    version = cast("str", request.param)
    keep = bool(request.config.getoption("--slurm-lab-keep"))
    nodes = cast("int", request.config.getoption("--slurm-nodes"))
    name = f"pytest-{version.replace('.', '')}" + ("" if keep else f"-{os.getpid()}")
    config = LabConfig(name=name, slurm=version, nodes=nodes, gpu_nodes=min(1, nodes))
    lab = _up(config)
    try:
        yield lab
    finally:
        if not keep:
            lab.down()


@pytest.fixture
def slurm_lab_factory() -> Iterator[LabFactory]:
    """A function that makes labs, which are removed when the test ends."""
    with ExitStack() as labs:

        def make(config: LabConfig) -> Lab:
            lab = _up(config)
            labs.callback(lab.down)
            return lab

        yield make


def _up(config: LabConfig) -> Lab:
    # Imported when a lab is wanted, so that a project's other tests do not pay for it.
    from slurmlab.lab import Lab  # noqa: PLC0415

    return Lab.up(config)


def _versions(config: pytest.Config) -> list[str]:
    chosen = cast("list[str]", config.getoption("--slurm-version")) or cast(
        "list[str]", config.getini("slurm_versions")
    )
    if "all" in chosen:
        return list(RELEASES)
    return chosen or [DEFAULT_RELEASE]
