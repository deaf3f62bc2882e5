"""Fixtures of the client's tests."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def api() -> Any:
    """The server's OpenAPI document, as committed."""
    return json.loads((Path(__file__).parents[3] / "openapi" / "headrace.json").read_text())
