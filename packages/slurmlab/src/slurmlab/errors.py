"""What can go wrong with a lab, as words of the trade.

LabError
├── ConfigError          the configuration cannot be used
├── PrerequisiteMissing  this machine lacks something; the message says what and how to get it
├── EngineError          Podman or Docker refused a command
├── ImageBuildFailed     the image could not be built; carries the end of the build's output
├── LabNotFound          no lab of that name
├── LabFailed            a lab did not come up; carries the end of the culprit's log
├── HostUnreachable      a host does not answer its control socket (killed, paused or half dead)
└── OrderFailed          a host answered and could not do what was asked
"""

from __future__ import annotations


class LabError(Exception):
    """Anything that slurmlab reports to a person. `code` is stable; the message is one or two plain sentences."""

    code = "lab_error"


class ConfigError(LabError):
    """The configuration cannot be used."""

    code = "config_invalid"


class PrerequisiteMissing(LabError):
    """This machine lacks something that a lab needs."""

    code = "prerequisite_missing"


class EngineError(LabError):
    """Podman or Docker refused a command."""

    code = "engine_failed"


class ImageBuildFailed(LabError):
    """The image could not be built."""

    code = "image_build_failed"


class LabNotFound(LabError):
    """There is no lab of that name."""

    code = "lab_not_found"


class LabFailed(LabError):
    """The lab did not come up."""

    code = "lab_failed"


class HostUnreachable(LabError):
    """The host does not answer."""

    code = "host_unreachable"


class OrderFailed(LabError):
    """The host answered and could not do what was asked."""

    code = "order_failed"
