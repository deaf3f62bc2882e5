"""Every `console` block of the documentation is run: real server, real Slurm, a user who has logged in."""

import re
from pathlib import Path

import pytest

from real.server import RealServer

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for pattern in ("*.md", "docs/**/*.md", "packages/*/README.md", "examples/*.md", "examples/*/README.md")
    for page in sorted(ROOT.glob(pattern))
    if BLOCK.search(page.read_text())
]


def commands(page: Path) -> str:
    """The lines after `$ ` of the page's console blocks, in order; `> ` continues a line."""
    lines: list[str] = []
    for block in BLOCK.findall(page.read_text()):
        lines += [line[2:] for line in block.splitlines() if line.startswith(("$ ", "> "))]
    return "\n".join(lines)


@pytest.mark.lab
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documented_commands_work(page: Path, headrace: RealServer, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = commands(page)
    assert script, "console blocks need lines that begin with `$ `"
    done = headrace.run(
        "bash",
        "-exuo",
        "pipefail",
        "-c",
        f"cd {tmp_path}\nheadrace login {headrace.login_link('ada')}\nLAB={headrace.lab}\n{script}",
        check=False,
        timeout_s=240,
        NO_COLOR="1",
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
