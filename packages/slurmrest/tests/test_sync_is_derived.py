import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_sync_client_is_what_the_script_makes_of_the_async_one() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/unasync", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_derived_file_is_left_over() -> None:
    package = ROOT / "packages/slurmrest/src/slurmrest"
    names = {path.name for path in (package / "_async").glob("*.py")}
    assert {path.name for path in (package / "_sync").glob("*.py")} == names
