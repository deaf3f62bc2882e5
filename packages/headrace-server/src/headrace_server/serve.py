"""Run the HTTP server, with logs that a person and a log collector can read."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from headrace_server.settings import Settings

GRACE_S = 5
SECRET = re.compile(r"(hr[a-z]*_|eyJ|/login/)[A-Za-z0-9_\-.]{8,}")


async def serve(app: FastAPI, settings: Settings) -> None:
    """Serve `app` until SIGINT or SIGTERM; open streams get GRACE_S seconds to end."""
    host, port = settings.address
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # X-Forwarded-* from anybody would be believed otherwise
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=64 * 1024,
    )
    configure_logs()
    await uvicorn.Server(config).serve()


def configure_logs() -> None:
    """One line an event on stderr: JSON for a collector, columns for a terminal; secrets are cut out of both."""
    render = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = SECRET.sub(r"\1…", value)
    return event
