from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from pathlib import Path

import pytest

from slurmlab.errors import LabError, LabNotFound
from slurmlab.lab import Lab
from slurmlab.state import known_names, load_record, lock_is_held, locked
from slurmlab.tokens import sign_token


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLURMLAB_STATE", str(tmp_path))
    return tmp_path


def test_the_second_to_lock_waits_and_says_so() -> None:
    said: list[str] = []
    waited = threading.Event()
    entered = threading.Event()

    def say(message: str) -> None:
        said.append(message)
        waited.set()

    def second() -> None:
        with locked("lab-x", say):
            entered.set()

    with locked("lab-x", said.append):
        assert lock_is_held("lab-x")
        thread = threading.Thread(target=second)
        thread.start()
        assert waited.wait(10)
        assert not entered.is_set()
    thread.join(10)
    assert entered.is_set()
    assert said == ["waiting for another slurmlab that holds 'lab-x'"]
    assert not lock_is_held("lab-x")


def test_a_lock_that_never_comes_free_is_given_up() -> None:
    said: list[str] = []
    with (
        locked("lab-y", said.append),
        pytest.raises(LabError, match="giving up"),
        locked("lab-y", said.append, timeout_s=0.2),
    ):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_record_that_cannot_be_read_is_no_record(state: Path, text: str) -> None:
    (state / "torn").mkdir()
    (state / "torn" / "lab.json").write_text(text)
    assert load_record("torn") is None
    assert known_names() == ["torn"]


def test_a_lab_that_is_not_there_is_named_with_those_that_are(state: Path) -> None:
    (state / "other").mkdir()
    with pytest.raises(LabNotFound, match=r"no lab 'mine'.*other"):
        Lab.find("mine")


def test_a_token_names_its_user_and_is_signed() -> None:
    key = b"k" * 32
    head, claims, signature = sign_token(key, "ada", 60, now_s=1000.0).split(".")
    expected = hmac.new(key, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {"iat": 1000, "exp": 1060, "sun": "ada"}
