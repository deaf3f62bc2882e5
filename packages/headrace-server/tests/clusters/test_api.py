"""The room's routes, as the whole application serves them."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from headrace_server.app import build
from headrace_server.clusters import Cluster, Clusters, ClusterSettings
from headrace_server.clusters.testing import SmallJob, SmallSlurm
from headrace_server.identity import Identity
from headrace_server.kernel import LocalWakeups, SystemClock
from headrace_server.settings import Settings


@pytest.fixture
async def api(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """A server whose cluster `lab` is a small one that is watched, and `dark` one that nobody watches."""
    (tmp_path / "key").write_bytes(b"k" * 32)
    slurm = SmallSlurm()
    slurm.put(SmallJob(1, ["RUNNING"]), SmallJob(2, ["PENDING"], array_job_id=2, tasks=(0, 1, 2)))
    names = [ClusterSettings(name, "http://slurm.test", tmp_path / "key") for name in ("lab", "dark")]
    app = build(Settings(state=tmp_path, clusters=tuple(names)), worker=False)
    watched = Cluster(names[0], SystemClock(), LocalWakeups(), transport=slurm)
    clusters: Clusters = app.state.clusters
    clusters._clusters["lab"] = watched
    task = asyncio.create_task(watched.watch.run())
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8470") as client,
    ):
        identity: Identity = app.state.identity
        await identity.ensure_accounts({"ada": "user"})
        person = await identity.redeem_login_link(await identity.issue_login_link("ada"))
        async with asyncio.timeout(10):
            while watched.watch.snapshot is None or not watched.watch.snapshot.nodes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        client.headers["Authorization"] = (
            f"Bearer {await identity.open_session(person, 'token', 'test', timedelta(hours=1))}"
        )
        yield client
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_clusters_are_listed_with_their_condition_and_age(api: httpx.AsyncClient) -> None:
    lab, dark = (await api.get("/api/v1/clusters")).json()["items"]
    assert lab["name"] == "lab"
    assert lab["condition"]["state"] == "reachable"
    assert lab["jobs"] == {"PENDING": 3, "RUNNING": 1}
    assert 0 <= lab["age_s"] < 60
    assert dark["condition"]["state"] == "unknown"
    assert dark["jobs"] is None
    assert dark["as_of"] is None


async def test_one_cluster_shows_nodes_and_partitions(api: httpx.AsyncClient) -> None:
    shown = (await api.get("/api/v1/clusters/lab")).json()
    assert [(node["name"], node["states"]) for node in shown["nodes"]] == [("c1", ["IDLE"]), ("c2", ["IDLE"])]
    assert [partition["name"] for partition in shown["partitions"]] == ["compute"]
    assert shown["partitions"][0]["time_limit_min"] is None
    dark = (await api.get("/api/v1/clusters/dark")).json()
    assert (dark["nodes"], dark["nodes_as_of"]) == ([], None)


async def test_an_unknown_cluster_is_a_problem_with_a_code(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/v1/clusters/none")
    assert answer.status_code == 404
    assert answer.json()["code"] == "no-such-cluster"
    assert answer.json()["allowed"] == ["dark", "lab"]


@pytest.mark.parametrize("path", ["/api/v1/clusters", "/api/v1/clusters/lab"])
async def test_nobody_looks_without_logging_in(api: httpx.AsyncClient, path: str) -> None:
    del api.headers["Authorization"]
    assert (await api.get(path)).status_code == 401
