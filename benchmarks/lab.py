"""How long a lab takes: building the image from nothing, `up` with four compute hosts, `down`.

The last line is ``lab image_build_s=… up_s=… down_s=…``: one build of the default release (its base image included),
medians of three for `up` and `down`. The promise: at most 150 s, 10 s and 5 s on two cores.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

from slurmlab import RELEASES, Lab, LabConfig
from slurmlab.config import DEFAULT_RELEASE
from slurmlab.engine import find_engine
from slurmlab.images import ensure_images

ROUNDS = 3
NODES = 4


def say(message: str) -> None:
    """Progress, apart from the figures."""
    print(f"==> {message}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main() -> None:
    """Measure, print each figure, end with the one line."""
    config = LabConfig(name=f"bench-{os.getpid()}", nodes=NODES)
    engine = find_engine()
    build_s = seconds(lambda: ensure_images(engine, RELEASES[DEFAULT_RELEASE], say, rebuild=True))
    ups: list[float] = []
    downs: list[float] = []
    for _ in range(ROUNDS):
        try:
            ups.append(seconds(lambda: Lab.up(config, say)))
        finally:
            downs.append(seconds(lambda: Lab.remove(config.name)))
        print(f"up {ups[-1]:.1f} s, down {downs[-1]:.1f} s")
    print(
        f"lab image_build_s={build_s:.0f} up_s={statistics.median(ups):.1f} down_s={statistics.median(downs):.1f} "
        f"hosts={len(config.hosts)} slurm={config.slurm}"
    )


if __name__ == "__main__":
    main()
