import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "packages/headrace-server/src/headrace_server"
HTTP_EDGE = "headrace_server.kernel.problems"  # the kernel's second door: it knows FastAPI, the first does not
ROOMS = sorted(folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").exists())


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_reaches_another_only_through_its_door(room: str) -> None:
    """What another room's `__init__` does not export is nobody else's business. (Who may know whom: .importlinter.)"""
    inside = [
        f"{file.relative_to(SOURCE)}: {node.module}"
        for file in (SOURCE / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module != HTTP_EDGE
        for parts in [node.module.split(".")]
        if parts[0] == "headrace_server" and len(parts) > 2 and parts[1] != room
    ]
    assert inside == []


def test_every_room_says_what_it_owns() -> None:
    for room in ROOMS:
        docstring = ast.get_docstring(ast.parse((SOURCE / room / "__init__.py").read_text())) or ""
        assert "Owns" in docstring, room
        assert "import" in docstring.lower(), room
