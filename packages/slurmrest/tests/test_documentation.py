import ast
import inspect
import re
from pathlib import Path

import pytest

import slurmrest
from slurmlab import Lab
from slurmrest import SlurmError, _errors

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/slurmrest.md"
BLOCKS = [
    pytest.param(page, block, id=f"{page.stem}-{number}")
    for page in (ROOT / "packages/slurmrest/README.md", PAGE)
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]
ERRORS = [kind for kind in vars(_errors).values() if inspect.isclass(kind) and issubclass(kind, SlurmError)]


@pytest.mark.lab
@pytest.mark.parametrize(("page", "block"), BLOCKS)
async def test_every_python_block_runs(slurm_lab: Lab, page: Path, block: str) -> None:
    code = compile(block, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, {"URL": slurm_lab.slurmrestd_url, "KEY": slurm_lab.jwt_key_path})
    if inspect.isawaitable(running):
        await running


def test_every_error_is_exported_drawn_and_documented() -> None:
    page, drawing = PAGE.read_text(), inspect.getdoc(_errors) or ""
    for kind in ERRORS:
        if kind in (SlurmError, _errors.EffectUnknownError):
            continue
        assert getattr(slurmrest, kind.__name__) is kind
        assert kind.__name__ in drawing
        assert f"| `{kind.__name__}` | `{kind.default_code}` |" in page


def test_every_code_that_the_package_uses_is_documented() -> None:
    page = PAGE.read_text()
    package = ROOT / "packages/slurmrest/src/slurmrest"
    sources = [*(package / "_async").glob("*.py"), *package.glob("_[a-z]*.py")]
    used = {
        code
        for source in sources
        if "batch" not in source.name
        for code in re.findall(r'code(?:=| = |, code = [^"\n]*?)"([a-z_]+)"', source.read_text())
    }
    assert {"script_empty", "extra_in_use", "no_accounting"} <= used
    assert {code for code in used if f"`{code}`" not in page} == set()
