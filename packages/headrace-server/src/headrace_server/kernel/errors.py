"""What goes wrong, in words of the domain.

The tree::

    HeadraceError
    ├── Invalid          the person's input breaks a rule that is known here
    ├── Refused          Slurm, or a rule, says no to a well-formed wish
    ├── Unauthenticated  nobody is asking, or a credential died
    ├── Forbidden        somebody is asking for what is not theirs
    ├── Missing          no such thing, or none that this person may see
    ├── Conflict         the world moved on, or the same key was used for something else
    ├── Unavailable      a part that is needed does not answer; nothing was changed
    └── Broken           a bug or a misconfiguration of ours

Rooms derive their own errors from these. A class's docstring is its title, `code` its stable name; both are listed in
`docs/errors.md`, and a test compares. Status codes are chosen at the HTTP edge (`problems.py`), exit codes in the CLI.
"""

from collections.abc import Iterator
from typing import ClassVar


class HeadraceError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        asked: object = None,
        allowed: object = None,
        fix: str | None = None,
        run: str | None = None,
    ) -> None:
        """Say what happened (`detail`), where (`field`), what was asked and allowed, what would help, and which run."""
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.asked = asked
        self.allowed = allowed
        self.fix = fix
        self.run = run

    @classmethod
    def title(cls) -> str:
        """Return the first line of the class's docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0].rstrip(".")


class Invalid(HeadraceError):
    """The input is not valid."""

    code = "invalid"


class Refused(HeadraceError):
    """The wish was refused."""

    code = "refused"


class Unauthenticated(HeadraceError):
    """Log in first."""

    code = "unauthenticated"


class Forbidden(HeadraceError):
    """This is not yours to do."""

    code = "forbidden"


class Missing(HeadraceError):
    """There is no such thing."""

    code = "missing"


class Conflict(HeadraceError):
    """The request contradicts an earlier one, or the present state."""

    code = "conflict"


class Unavailable(HeadraceError):
    """A part that is needed does not answer."""

    code = "unavailable"


class Broken(HeadraceError):
    """Headrace itself is broken or misconfigured."""

    code = "broken"


def every_error(root: type[HeadraceError] = HeadraceError) -> Iterator[type[HeadraceError]]:
    """Yield `root` and all classes derived from it that are imported by now."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)
