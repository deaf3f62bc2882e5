import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def test_the_committed_document_is_what_the_server_says() -> None:
    server = Path(sys.executable).parent / "headrace-server"
    said = subprocess.run([server, "openapi"], check=True, capture_output=True, text=True).stdout
    assert said == (ROOT / "openapi/headrace.json").read_text(), "run scripts/openapi and commit the result"


def test_every_operation_has_a_name_a_summary_and_says_how_it_fails() -> None:
    document: dict[str, Any] = json.loads((ROOT / "openapi/headrace.json").read_text())
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            assert operation.get("operationId"), (verb, path)
            assert operation.get("summary"), (verb, path)
            assert "application/problem+json" in operation["responses"]["default"]["content"], (verb, path)
            assert "422" not in operation["responses"], (verb, path)
