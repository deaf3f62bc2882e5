"""Slurm tokens (auth/jwt): HS256 signed with the lab's key, the user in the claim ``sun``."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping


def sign_token(key: bytes, user: str, lifespan_s: float, *, now_s: float | None = None) -> str:
    """A token that slurmrestd takes in ``X-SLURM-USER-TOKEN`` for `user`, for `lifespan_s` seconds.

    A negative lifespan gives a token that has expired already, which tests of refusals need.
    """
    issued = time.time() if now_s is None else now_s
    claims = {"iat": int(min(issued, issued + lifespan_s)), "exp": int(issued + lifespan_s), "sun": user}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encode(signature)}"


def _part(value: Mapping[str, object]) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
