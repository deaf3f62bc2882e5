"""What the watch costs Slurm and how late it is, with thousands of pending jobs, beside polling the whole job table.

Brings up a lab of its own, fills its queue, and then makes the same small changes at the same rate in three phases:
nobody watching, the watch, and a client that reads all of `/jobs/` every two seconds as a plain dashboard does. The
latency of a change is from the moment before the request that makes it to the moment a subscriber has been woken and
finds it in the snapshot; for the browser, to the moment the portal's list of runs shows it (real server, Chromium).
CPU is that of slurmctld and slurmrestd, with the first phase's share taken off. After the watch's phase more than a
fifth of all jobs change at once.

    python benchmarks/watch.py [--jobs 4000] [--seconds 120] [--slurm 26.05] [--browser-changes 20] [--keep]
"""

import argparse
import asyncio
import contextlib
import math
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from watch_browser import browser_latencies

import slurmrest
from headrace_server.clusters import Cluster, ClusterSettings, topic_of
from headrace_server.kernel import LocalWakeups, SystemClock
from slurmlab import Lab, LabConfig

PEER_EVERY_S = 2.0
CHANGE_EVERY_S = 1.3  # beats against the sweeps, so that changes fall anywhere between two of them
DAEMONS = ("slurmctld", "slurmrestd")
TICKS_PER_S = 100
SCRIPT = "#!/bin/sh\nsleep 3600\n"


@dataclass
class Seen:
    """When each change was made and when it was seen."""

    made_s: dict[tuple[int, str], float] = field(default_factory=dict[tuple[int, str], float])
    seen_s: dict[tuple[int, str], float] = field(default_factory=dict[tuple[int, str], float])

    def made(self, job_id: int, state: str, at_s: float) -> None:
        """Note a change."""
        self.made_s[job_id, state] = at_s

    def saw(self, job_id: int, states: tuple[str, ...]) -> None:
        """Note that an observer knows a job's states."""
        for state in states:
            self.seen_s.setdefault((job_id, state), time.monotonic())

    @property
    def unseen(self) -> int:
        """How many changes were never seen."""
        return len(self.made_s.keys() - self.seen_s.keys())

    def p95_ms(self) -> float:
        """Return the 95th percentile."""
        return p95_ms([self.seen_s[change] - at_s for change, at_s in self.made_s.items() if change in self.seen_s])


def p95_ms(latencies_s: list[float]) -> float:
    """Return the 95th percentile by nearest rank, in milliseconds."""
    ordered = sorted(latencies_s)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] * 1000 if ordered else math.nan


def say(text: str) -> None:
    """Tell what is going on."""
    print(f"  {text}", flush=True)


@contextlib.contextmanager
def lab_for(slurm: str, *, keep: bool) -> Generator[Lab]:
    """Bring up a lab of this run's own, and take it down."""
    name = f"bench-watch-{slurm.replace('.', '')}"
    say(f"a lab with Slurm {slurm}")
    lab = Lab.up(LabConfig(name=name, slurm=slurm, nodes=2))
    try:
        yield lab
    finally:
        if not keep:
            lab.down()


def cpu_s(lab: Lab) -> dict[str, float]:
    """Return the CPU time the daemons have used so far."""
    pids = {service.name: service.pid for service in lab.services("controller") if service.name in DAEMONS}
    used: dict[str, float] = {}
    for name, pid in pids.items():
        fields = lab.exec("controller", ["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
        used[name] = (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return used


async def fill(slurm: slurmrest.AsyncClient, jobs: int) -> None:
    """Submit jobs until `jobs` of them are pending; the first ones occupy the nodes."""
    description = slurmrest.JobDescription(
        name="bench", script=SCRIPT, working_directory="/tmp", nodes=2, exclusive=True, time_limit_min=600
    )
    waiting = iter(range(jobs + 1))

    async def submit() -> None:
        for _ in waiting:
            await slurm.submit(description)

    await asyncio.gather(*(submit() for _ in range(4)))
    async with asyncio.timeout(60):
        while True:
            states = (await slurm.job_states()).states.values()
            if sum(words[0] == "PENDING" for words in states) >= jobs and any(w[0] == "RUNNING" for w in states):
                return
            await asyncio.sleep(1)


async def change(slurm: slurmrest.AsyncClient, seen: Seen, seconds: float, expect: Callable[[int], None]) -> None:
    """Submit a held job and cancel it, again and again, for a time."""
    description = slurmrest.JobDescription(name="probe", script=SCRIPT, working_directory="/tmp", hold=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        at_s = time.monotonic()
        job_id = (await slurm.submit(description)).job_id
        seen.made(job_id, "PENDING", at_s)
        expect(job_id)
        await asyncio.sleep(CHANGE_EVERY_S * random.uniform(0.8, 1.2))
        # The answer to a cancellation comes after the change: the state may be seen before it does.
        seen.made(job_id, "CANCELLED", time.monotonic())
        await slurm.cancel(job_id)
        await asyncio.sleep(CHANGE_EVERY_S * random.uniform(0.8, 1.2))
    await asyncio.sleep(5)


@asynccontextmanager
async def watching(cluster: Cluster, wakeups: LocalWakeups, seen: Seen) -> AsyncGenerator[None]:
    """Run the watch and a subscriber, as the portal's pages are."""

    async def hear() -> None:
        async with wakeups.subscribe(topic_of(cluster.name)) as calls:
            while True:
                for name in await calls.names():
                    for record in cluster.watch.snapshot.job(int(name)) if cluster.watch.snapshot else ():
                        seen.saw(record.job_id, record.states)

    tasks = [asyncio.create_task(hear()), asyncio.create_task(cluster.watch.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def polling(slurm: slurmrest.AsyncClient, seen: Seen) -> AsyncGenerator[None]:
    """Read the whole job table every two seconds (or as fast as it comes, if it takes longer)."""

    async def poll() -> None:
        while True:
            begun = time.monotonic()
            for job in (await slurm.jobs()).jobs:
                seen.saw(job.job_id, job.states)
            await asyncio.sleep(max(0.0, begun + PEER_EVERY_S - time.monotonic()))

    task = asyncio.create_task(poll())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass
class Phase:
    """What one phase took."""

    seconds: float
    cpu: dict[str, float]

    def per_s(self, less: "Phase | None" = None) -> float:
        """Return the daemons' CPU per second, less what another phase took."""
        own = sum(self.cpu.values()) / self.seconds
        return own - (less.per_s() if less else 0.0)


async def timed(lab: Lab, work: Callable[[], "asyncio.Future[None] | asyncio.Task[None]"]) -> Phase:
    """Do `work` and return what the daemons used meanwhile."""
    before, begun = cpu_s(lab), time.monotonic()
    await work()
    after = cpu_s(lab)
    return Phase(time.monotonic() - begun, {name: after[name] - before[name] for name in after})


async def settled(cluster: Cluster) -> None:
    """Wait until the watch knows the details of every job."""
    async with asyncio.timeout(120):
        while True:
            snapshot = cluster.watch.snapshot
            if snapshot and all(r.details is not None for records in snapshot.jobs.values() for r in records):
                return
            await asyncio.sleep(0.2)


async def burst(lab: Lab, cluster: Cluster, count: int) -> float:
    """Cancel `count` jobs at once; return after how long the snapshot had them all, in seconds."""
    assert cluster.watch.snapshot is not None
    pending = sorted(n for n, records in cluster.watch.snapshot.jobs.items() if records[0].state == "PENDING")
    victims = pending[-count:]
    begun = time.monotonic()
    await asyncio.to_thread(lab.exec, "controller", ["scancel", *map(str, victims)])
    sent_s = time.monotonic() - begun
    async with asyncio.timeout(60):
        while any(cluster.watch.snapshot.job(n)[0].state == "PENDING" for n in victims):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    late_s = time.monotonic() - begun - sent_s
    say(f"{count} jobs cancelled in {sent_s:.1f} s; the snapshot had them {late_s:.1f} s later")
    return late_s


async def measure(lab: Lab, jobs: int, seconds: float, browser_changes: int) -> str:
    """Run all phases and return the line of figures."""
    settings = ClusterSettings(lab.name, lab.slurmrestd_url, lab.jwt_key_path)
    wakeups = LocalWakeups()
    cluster = Cluster(settings, SystemClock(), wakeups)
    slurm = cluster.slurm("ada")
    try:
        begun = time.monotonic()
        await fill(slurm, jobs)
        say(f"{jobs} jobs pending after {time.monotonic() - begun:.0f} s")

        quiet, ours, peers = Seen(), Seen(), Seen()
        say("nobody watches")
        base = await timed(lab, lambda: asyncio.ensure_future(change(slurm, quiet, seconds / 4, lambda _: None)))

        browser_s: list[float] = []
        if browser_changes:
            say("the portal in a browser")
            browser_s = await asyncio.to_thread(browser_latencies, lab, browser_changes)

        say("the watch")
        async with watching(cluster, wakeups, ours):
            await settled(cluster)
            start = cluster.watch.counters.sweeps, time.monotonic(), time.process_time()
            watch = await timed(lab, lambda: asyncio.ensure_future(change(slurm, ours, seconds, cluster.watch.expect)))
            lasted_s = time.monotonic() - start[1]
            sweeps_per_s = (cluster.watch.counters.sweeps - start[0]) / lasted_s
            own_cpu = (time.process_time() - start[2]) / lasted_s
            quiet_dumps = cluster.watch.counters.full_dumps
            say("more than a fifth changes at once")
            burst_s = await burst(lab, cluster, jobs * 3 // 10)
            await asyncio.sleep(8)
            await settled(cluster)
        counters = cluster.watch.counters

        say("the whole table every two seconds")
        async with polling(slurm, peers):
            peer = await timed(lab, lambda: asyncio.ensure_future(change(slurm, peers, seconds / 4, lambda _: None)))
    finally:
        await cluster.close()

    for name, phase in (("nobody", base), ("watch", watch), ("peer", peer)):
        shares = " ".join(f"{daemon} {used / phase.seconds * 100:.2f} %" for daemon, used in phase.cpu.items())
        say(f"CPU {name}: {shares} of a core")
    figures = {
        "jobs": jobs,
        "slurm": lab.release.version,
        "seconds": f"{lasted_s:.0f}",
        "sweeps_per_s": f"{sweeps_per_s:.2f}",
        "change_p95_ms": f"{ours.p95_ms():.0f}",
        "changes": len(ours.made_s),
        "unseen": ours.unseen,
        "browser_change_p95_ms": f"{p95_ms(browser_s):.0f}" if browser_s else "not-measured",
        "full_dumps": quiet_dumps,
        "full_dumps_after_burst": counters.full_dumps,
        "burst_seen_ms": f"{burst_s * 1000:.0f}",
        "detail_fetches": counters.detail_fetches,
        "errors": counters.errors,
        "slurm_cpu_share": f"{watch.per_s(base):.4f}",
        "own_cpu_share": f"{own_cpu:.4f}",
        "peer_change_p95_ms": f"{peers.p95_ms():.0f}",
        "peer_slurm_cpu_share": f"{peer.per_s(base):.4f}",
        "peer_cpu_ratio": f"{peer.per_s(base) / max(watch.per_s(base), 1e-4):.1f}",
        "peer_latency_ratio": f"{peers.p95_ms() / ours.p95_ms():.1f}",
    }
    return "watch " + " ".join(f"{key}={value}" for key, value in figures.items())


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Measure the watch on a lab of its own.")
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--slurm", default="26.05", choices=["26.05", "24.11"])
    parser.add_argument("--browser-changes", type=int, default=20, help="0: no browser")
    parser.add_argument("--keep", action="store_true", help="leave the lab running")
    arguments = parser.parse_args()
    with lab_for(arguments.slurm, keep=arguments.keep) as lab:
        print(asyncio.run(measure(lab, arguments.jobs, arguments.seconds, arguments.browser_changes)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
