import base64
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path

import pytest

from slurmrest import EnvironmentToken, HS256Key, StaticToken, TokenCallback, TokenCommand, TokenFile, TokenUnavailable
from slurmrest._tokens import expiry

KEY = b"k" * 32


def claims(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_a_minted_token_is_signed_with_the_key_and_names_user_and_end() -> None:
    token = HS256Key(KEY, user="ada", lifespan_s=900).token()
    signed, _, signature = token.rpartition(".")
    expected = hmac.new(KEY, signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)) == expected
    assert claims(token)["sun"] == "ada"
    assert claims(token)["exp"] == pytest.approx(time.time() + 900, abs=5)
    assert expiry(token) == claims(token)["exp"]


def test_a_minted_token_is_kept_until_half_of_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = HS256Key(KEY, user="ada", lifespan_s=100)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    first = provider.token()
    monkeypatch.setattr(time, "time", lambda: now + 49)
    assert provider.token() == first
    monkeypatch.setattr(time, "time", lambda: now + 51)
    assert provider.token() != first


def test_each_submission_has_a_short_token_of_its_own() -> None:
    provider = HS256Key(KEY, user="ada", lifespan_s=3600, submission_lifespan_s=60)
    assert claims(provider.submission_token())["exp"] == pytest.approx(time.time() + 60, abs=5)


def test_a_key_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "jwt_hs256.key"
    path.write_bytes(b"\x00\n" * 16)
    token = HS256Key(path, user="ada").token()
    signed, _, signature = token.rpartition(".")
    expected = hmac.new(b"\x00\n" * 16, signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)) == expected


def test_a_missing_key_file_is_said() -> None:
    with pytest.raises(TokenUnavailable, match="cannot be read"):
        HS256Key("/nonexistent/key", user="ada").token()


def test_a_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    provider = TokenFile(path)
    assert provider.token() == "one"
    path.write_text("two")
    assert provider.token() == "two"
    path.unlink()
    with pytest.raises(TokenUnavailable):
        provider.token()


def test_the_environment_is_read_and_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = EnvironmentToken()
    monkeypatch.delenv("SLURM_JWT", raising=False)
    with pytest.raises(TokenUnavailable):
        provider.token()
    monkeypatch.setenv("SLURM_JWT", "abc")
    assert provider.token() == "abc"
    assert os.environ["SLURM_JWT"] == "abc"


def test_a_command_prints_a_token_as_scontrol_does() -> None:
    provider = TokenCommand([sys.executable, "-c", "print('SLURM_JWT=abc')"])
    assert provider.token() == "abc"


@pytest.mark.parametrize("argv", [["/nonexistent"], [sys.executable, "-c", "raise SystemExit(3)"], ["true"]])
def test_a_failing_or_silent_command_is_said(argv: list[str]) -> None:
    with pytest.raises(TokenUnavailable):
        TokenCommand(argv).token()


def test_a_callback_is_asked_again_before_the_end_and_after_a_refusal() -> None:
    made: list[str] = []

    def make() -> str:
        made.append(HS256Key(KEY, user=f"u{len(made)}", lifespan_s=3600).token())
        return made[-1]

    provider = TokenCallback(make)
    assert provider.token() == provider.token() == made[0]
    assert provider.token(fresh=True) == made[1]


@pytest.mark.parametrize("token", ["", "  ", "a b", "a\nX-SLURM-USER-NAME: root", "tökén", "a\x00b"])
def test_what_could_become_another_header_is_no_token(token: str) -> None:
    with pytest.raises(TokenUnavailable):
        StaticToken(token)
