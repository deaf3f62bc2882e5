#!/usr/bin/env python3
# pyright: basic, reportMissingImports=false
"""Heat in a square plate, cut into strips, one for each MPI rank; checked against the same computed by one rank.

Each step a rank needs the rows next to its strip from its neighbours. Needs numpy and mpi4py.
"""

import sys
import time

import numpy as np
from mpi4py import MPI

ROWS = COLUMNS = 512
STEPS = 400
FLOW = 0.2
"""Heat that goes to each neighbour in a step; stable below 0.25."""


def main() -> int:
    """Compute in strips, compute whole, compare."""
    world = MPI.COMM_WORLD
    rank, ranks = world.Get_rank(), world.Get_size()
    hosts = world.gather(MPI.Get_processor_name(), root=0)
    if rank == 0 and hosts is not None:
        print(f"{ranks} ranks on {len(set(hosts))} hosts: {', '.join(sorted(set(hosts)))}", flush=True)

    counts = [ROWS // ranks + (one < ROWS % ranks) for one in range(ranks)]
    first = sum(counts[:rank])
    strip = with_border(plate()[first : first + counts[rank]])
    began = time.perf_counter()
    for _ in range(STEPS):
        exchange(world, strip)
        strip[1:-1, 1:-1] = stepped(strip)
    took = time.perf_counter() - began

    parts = world.gather(np.ascontiguousarray(strip[1:-1, 1:-1]), root=0)
    if rank != 0 or parts is None:
        return 0
    began = time.perf_counter()
    whole = with_border(plate())
    for _ in range(STEPS):
        whole[1:-1, 1:-1] = stepped(whole)
    alone = time.perf_counter() - began
    difference = float(np.max(np.abs(np.vstack(parts) - whole[1:-1, 1:-1])))
    heat = float(np.sum(whole[1:-1, 1:-1]))
    print(f"{ROWS} x {COLUMNS} points, {STEPS} steps: {took:.2f} s together, {alone:.2f} s alone")
    print(f"heat left: {heat:.3f}; greatest difference to the serial answer: {difference:.1e}")
    if difference > 1e-12 or len(set(hosts or ())) < 2:
        print("FAILED: the answers differ, or only one host took part.", file=sys.stderr)
        return 1
    print("The strips agree with the serial answer.")
    return 0


def plate() -> np.ndarray:
    """Return the plate at the beginning: cold, with two warm squares."""
    heat = np.zeros((ROWS, COLUMNS))
    heat[ROWS // 8 : ROWS // 4, COLUMNS // 8 : COLUMNS // 2] = 100.0
    heat[ROWS // 2 : ROWS // 4 * 3, COLUMNS // 2 : COLUMNS // 8 * 7] = 60.0
    return heat


def with_border(part: np.ndarray) -> np.ndarray:
    """Return the part with a row and column of cold around it."""
    return np.pad(part, 1)


def stepped(strip: np.ndarray) -> np.ndarray:
    """Return the inside of a strip one step later."""
    inside = strip[1:-1, 1:-1]
    around = strip[:-2, 1:-1] + strip[2:, 1:-1] + strip[1:-1, :-2] + strip[1:-1, 2:]
    return inside + FLOW * (around - 4 * inside)


def exchange(world: MPI.Comm, strip: np.ndarray) -> None:
    """Give the outermost rows to the neighbours and take theirs."""
    rank, ranks = world.Get_rank(), world.Get_size()
    above = rank - 1 if rank > 0 else MPI.PROC_NULL
    below = rank + 1 if rank < ranks - 1 else MPI.PROC_NULL
    world.Sendrecv(strip[1], dest=above, recvbuf=strip[-1], source=below)
    world.Sendrecv(strip[-2], dest=below, recvbuf=strip[0], source=above)


if __name__ == "__main__":
    sys.exit(main())
