"""Pages: a room's templates, with the layout and the components of the portal at hand."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

from headrace_server.kernel import Clock, SystemClock
from headrace_server.portal import words
from headrace_server.portal.static import manifest


class Templates:
    """The templates of one room (`package`). Those of the portal are found as `portal/NAME`."""

    def __init__(self, package: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        shell = PackageLoader("headrace_server.portal")
        self._environment = Environment(
            loader=ChoiceLoader([PrefixLoader({"portal": shell}), PackageLoader(package)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.functions(now=self._clock.now)
        filters: dict[str, Any] = self._environment.filters
        filters |= {
            "counted": words.counted,
            "duration": words.duration,
            "moment": words.moment,
            "iso": words.iso,
            "epoch_ms": words.epoch_ms,
            "plain": words.plain,
        }

    def functions(self, **functions: Callable[..., Any]) -> None:
        """Let the room's templates call these."""
        self._environment.globals.update(functions)

    def page(
        self,
        request: Request,
        template: str,
        *,
        person: object | None,
        status: HTTPStatus = HTTPStatus.OK,
        **values: Any,
    ) -> HTMLResponse:
        """Return a whole page. `person` is who is logged in, for the top bar."""
        text = self.text(template, path=request.url.path, person=person, **values)
        return HTMLResponse(text, status)

    def text(self, template: str, **values: Any) -> str:
        """Return what a template makes of `values`."""
        return self._environment.get_template(template).render(assets=manifest(), **values)
