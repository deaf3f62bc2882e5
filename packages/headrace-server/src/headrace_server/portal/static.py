"""Built assets: served under names that change with their content, so browsers may keep them for ever."""

import json
from functools import lru_cache
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from headrace_server.portal.security import SecurityHeaders

DIST = Path(__file__).parent / "assets" / "dist"
log = structlog.get_logger()


def install(app: FastAPI) -> None:
    """Give `app` the assets and the security headers."""
    app.add_middleware(SecurityHeaders)
    app.mount("/assets", _KeptForEver(directory=DIST, check_dir=False), name="assets")


def manifest() -> dict[str, str]:
    """Return the built names by their plain ones (`main.js` to `main-3F2A….js`); empty if nothing was built.

    The portal works without them, as bare HTML: that is what a checkout shows before `scripts/build-assets`. A build
    under a running server is noticed, because the files of the one before are gone then.
    """
    try:
        built_at = (DIST / "manifest.json").stat().st_mtime_ns
    except FileNotFoundError:
        built_at = None
    return _manifest_of(built_at)


@lru_cache(maxsize=1)
def _manifest_of(built_at: int | None) -> dict[str, str]:
    if built_at is None:
        log.warning("the portal has no styles or scripts: run scripts/build-assets", folder=str(DIST))
        return {}
    built: dict[str, str] = json.loads((DIST / "manifest.json").read_text(encoding="utf-8"))
    return built


class _KeptForEver(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code in {200, 304}:
            MutableHeaders(raw=response.raw_headers)["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
