"""A server for tests that kills itself (-9) when a run reaches the step named by HEADRACE_CRASH_AT."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from headrace_server.app import build
from headrace_server.serve import serve
from headrace_server.settings import settings_of


def main(settings_file: Path) -> None:
    settings = settings_of(json.loads(settings_file.read_text()))
    # The holder is fixed, as it is for `headrace-server up`: a restart need not wait for the dead one's lease.
    app = build(settings, holder="test")
    crash_at = os.environ.get("HEADRACE_CRASH_AT")

    async def step(name: str) -> None:
        if name == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    app.state.runs.steps = step
    asyncio.run(serve(app, settings))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
