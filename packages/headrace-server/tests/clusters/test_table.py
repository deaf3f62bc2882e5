from datetime import UTC, datetime, timedelta

import slurmrest
from headrace_server.clusters.table import JobTable

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def swept(states: dict[int, str], tasks: dict[int, tuple[int, ...]] | None = None) -> slurmrest.JobStates:
    words = {job_id: tuple(text.split("+")) for job_id, text in states.items()}
    return slurmrest.JobStates(states=words, array_tasks=tasks or {})


def details(job_id: int, states: str, *, array: int | None = None, task: int | None = None) -> slurmrest.Job:
    return slurmrest.Job(
        job_id=job_id,
        key=str(job_id),
        name="job",
        states=tuple(states.split("+")),
        array_job_id=array,
        array_task_id=task,
    )


def shown(table: JobTable) -> dict[int, list[tuple[int, tuple[int, ...], str]]]:
    return {
        job_id: [(one.job_id, one.array_tasks, one.state) for one in records]
        for job_id, records in table.view().items()
    }


def test_a_sweep_replaces_all_states_and_says_what_changed() -> None:
    table = JobTable()
    first = table.sweep(swept({1: "PENDING", 2: "RUNNING", 3: "RUNNING"}))
    assert first.touched == {1, 2, 3}
    assert set(first.look_at) == {1, 2, 3}
    second = table.sweep(swept({1: "RUNNING", 2: "RUNNING", 4: "PENDING"}))
    assert second.touched == {1, 3, 4}
    assert set(second.look_at) == {1, 4}
    assert shown(table) == {1: [(1, (), "RUNNING")], 2: [(2, (), "RUNNING")], 4: [(4, (), "PENDING")]}


def test_a_view_that_was_given_out_never_changes() -> None:
    table = JobTable()
    table.sweep(swept({1: "PENDING"}))
    old = table.view()
    assert table.view() is old
    table.sweep(swept({1: "RUNNING", 2: "PENDING"}))
    assert [record.state for record in old[1]] == ["PENDING"]
    assert 2 not in old
    assert [record.state for record in table.view()[1]] == ["RUNNING"]


def test_tasks_of_an_array_are_filed_under_the_array_once_their_details_tell() -> None:
    table = JobTable()
    table.sweep(swept({100: "PENDING"}, {100: (0, 1, 2)}))
    changes = table.sweep(swept({100: "PENDING", 105: "RUNNING"}, {100: (1, 2), 105: (0,)}))
    assert changes.touched == {100, 105}
    assert changes.look_at == (100, 105)
    assert shown(table)[105] == [(105, (0,), "RUNNING")]

    assert 100 in table.learn(details(105, "RUNNING", array=100, task=0), NOW)
    assert shown(table) == {100: [(105, (0,), "RUNNING"), (100, (1, 2), "PENDING")]}

    # The array's own record ends up as its last task.
    table.sweep(swept({105: "COMPLETED", 106: "RUNNING", 100: "RUNNING"}, {105: (0,), 106: (1,), 100: (2,)}))
    table.learn(details(106, "RUNNING", array=100, task=1), NOW)
    expected = [(105, (0,), "COMPLETED"), (106, (1,), "RUNNING"), (100, (2,), "RUNNING")]
    assert shown(table) == {100: expected}


def test_a_vanished_array_task_is_reported_under_its_array() -> None:
    table = JobTable()
    table.sweep(swept({100: "PENDING", 105: "COMPLETED"}, {100: (1, 2), 105: (0,)}))
    table.learn(details(105, "COMPLETED", array=100, task=0), NOW)
    assert table.sweep(swept({100: "PENDING"}, {100: (1, 2)})).touched == {100}
    assert shown(table) == {100: [(100, (1, 2), "PENDING")]}


def test_components_of_a_het_job_are_filed_under_its_leader() -> None:
    table = JobTable()
    table.sweep(swept({7: "PENDING", 8: "PENDING"}))
    for job_id in (7, 8):
        job = slurmrest.Job(
            job_id=job_id, key="", name="het", states=("PENDING",), het_job_id=7, het_job_offset=job_id - 7
        )
        table.learn(job, NOW)
    assert shown(table) == {7: [(7, (), "PENDING"), (8, (), "PENDING")]}
    assert table.sweep(swept({})).touched == {7}
    assert shown(table) == {}


def test_an_id_given_to_another_job_does_not_keep_the_first_ones_details() -> None:
    table = JobTable()
    table.sweep(swept({1: "COMPLETED"}))
    table.learn(details(1, "COMPLETED"), NOW)
    changes = table.sweep(swept({1: "PENDING"}))
    assert changes.look_at == (1,)
    [record] = table.view()[1]
    assert record.details is None


def test_details_keep_their_age_while_the_state_goes_on() -> None:
    table = JobTable()
    table.sweep(swept({1: "PENDING"}))
    table.learn(details(1, "PENDING"), NOW)
    table.sweep(swept({1: "RUNNING"}))
    [record] = table.view()[1]
    assert record.states == ("RUNNING",)
    assert record.details is not None
    assert record.details.states == ("PENDING",)
    assert record.details_at == NOW


def test_older_details_never_replace_newer_ones() -> None:
    table = JobTable()
    table.sweep(swept({1: "RUNNING"}))
    table.learn(details(1, "RUNNING"), NOW)
    assert table.learn(details(1, "PENDING"), NOW - timedelta(seconds=1)) == frozenset()
    [record] = table.view()[1]
    assert record.details is not None
    assert record.details.states == ("RUNNING",)


def test_details_that_already_show_the_new_state_are_not_asked_for_again() -> None:
    table = JobTable()
    table.sweep(swept({1: "PENDING"}))
    table.learn(details(1, "RUNNING"), NOW)
    assert table.sweep(swept({1: "RUNNING"})).look_at == ()
