"""A small slurmrestd for tests: a real httpx transport with a small world inside, and faults on request.

It answers as slurmrestd 26.05 was seen to answer, including its oddities: states by own id with task numbers, 304 for
unchanged nodes, 500 with null jobs when slurmctld is away, 200 with a failed ping.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

Answer = httpx.Response
Fault = Callable[[httpx.Request], Awaitable[Answer | None]]


@dataclass
class SmallJob:
    """One record of the small slurmctld."""

    job_id: int
    states: list[str]
    name: str = "job"
    array_job_id: int = 0
    tasks: tuple[int, ...] = ()
    het_job_id: int = 0
    reason: str = "None"
    nodes: str = ""
    submit_time: int = 1_795_000_000


@dataclass
class SmallSlurm(httpx.AsyncBaseTransport):
    """Slurm with a table of jobs that the test changes. `requests` counts what it was asked, by kind."""

    jobs: dict[int, SmallJob] = field(default_factory=dict[int, SmallJob])
    nodes: list[str] = field(default_factory=lambda: ["c1", "c2"])
    nodes_changed_at: int = 1_795_000_000
    controller_up: bool = True
    fault: Fault | None = None
    requests: dict[str, int] = field(default_factory=dict[str, int])
    asked: list[str] = field(default_factory=list[str])

    def put(self, *jobs: SmallJob) -> None:
        """Add or replace records."""
        self.jobs.update({job.job_id: job for job in jobs})

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as slurmrestd does."""
        kind, wanted = _kind(request)
        self.requests[kind] = self.requests.get(kind, 0) + 1
        self.asked.append(f"{kind} {wanted}".strip())
        if self.fault is not None and (answer := await self.fault(request)) is not None:
            return answer
        if kind == "ping":
            return _json(200, pings=[_ping(up=self.controller_up)])
        if not self.controller_up:
            return _json(500, jobs=None, errors=[{"error_number": 1800, "error": "Unable to contact slurm controller"}])
        return self._answer(kind, wanted, request.url.params.get("update_time"))

    def _answer(self, kind: str, wanted: str, since: str | None) -> Answer:
        answers: dict[str, Callable[[], Answer]] = {
            "states": lambda: _json(200, jobs=[entry for job in self.jobs.values() for entry in _states(job)]),
            "dump": lambda: _json(200, jobs=[_info(job) for job in self.jobs.values()], last_update=_number(1)),
            "job": lambda: self._job(int(wanted)),
            "nodes": lambda: self._nodes(since),
            "partitions": lambda: _json(200, partitions=[{"name": "compute"}], last_update=_number(1)),
        }
        unknown = httpx.Response(404, text="Unable to find requested URL endpoint")
        return answers[kind]() if kind in answers else unknown

    def _job(self, job_id: int) -> Answer:
        found = [job for job in self.jobs.values() if job_id in (job.job_id, job.array_job_id, job.het_job_id)]
        if not found:
            return _json(404, jobs=[], errors=[{"error_number": 2017, "error": "Invalid job id specified"}])
        return _json(200, jobs=[_info(job) for job in found])

    def _nodes(self, since: str | None) -> Answer:
        if since is not None and int(since) - 1 >= self.nodes_changed_at:
            return httpx.Response(304)
        nodes = [{"name": name, "state": ["IDLE"], "cpus": 16} for name in self.nodes]
        return _json(200, nodes=nodes, last_update=_number(self.nodes_changed_at))


def _kind(request: httpx.Request) -> tuple[str, str]:
    parts = request.url.path.strip("/").split("/")[2:]
    match parts:
        case ["jobs", "state"]:
            return "states", ""
        case ["jobs"]:
            return "dump", ""
        case ["job", job_id]:
            return "job", job_id
        case [one]:
            return one, ""
        case _:
            return "other", ""


def _json(status: int, **body: Any) -> Answer:
    return httpx.Response(status, json={"errors": [], "warnings": [], **body})


def _number(value: int) -> dict[str, object]:
    return {"set": True, "infinite": False, "number": value}


def _unset() -> dict[str, object]:
    return {"set": False, "infinite": False, "number": 0}


def _states(job: SmallJob) -> list[dict[str, object]]:
    if not job.tasks:
        return [{"job_id": str(job.job_id), "state": job.states}]
    return [{"job_id": f"{job.job_id}_{task}", "state": job.states} for task in job.tasks]


def _info(job: SmallJob) -> dict[str, object]:
    one_task = len(job.tasks) == 1
    return {
        "job_id": job.job_id,
        "name": job.name,
        "user_name": "ada",
        "job_state": job.states,
        "state_reason": job.reason,
        "nodes": job.nodes,
        "submit_time": _number(job.submit_time),
        "array_job_id": _number(job.array_job_id),
        "array_task_id": _number(job.tasks[0]) if one_task else _unset(),
        "array_task_string": "" if one_task else ",".join(map(str, job.tasks)),
        "het_job_id": _number(job.het_job_id),
        "het_job_offset": _number(job.job_id - job.het_job_id) if job.het_job_id else _unset(),
    }


def _ping(*, up: bool) -> dict[str, object]:
    status = "No error" if up else "Unable to contact slurm controller (connect failure)"
    return {"hostname": "controller", "responding": up, "latency": 100, "primary": True, "status": status}
