"""Orders to a host of a lab, over the socket that its process 1 listens on."""

from __future__ import annotations

import json
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurmlab.errors import HostUnreachable, OrderFailed


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended on a host."""

    exit_status: int
    """As Python's subprocess gives it: negative for a signal."""
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether it exited 0."""
        return self.exit_status == 0


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One daemon of a host: ``ready``, ``starting``, ``paused``, ``stopped``, ``failed`` or ``done``."""

    name: str
    state: str
    pid: int | None
    exit_status: int | None


def send_order(socket_path: Path, order: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Send one order and wait for its answer.

    Raises HostUnreachable when nobody answers within `timeout_s`, OrderFailed when the host could not do it.
    """
    data = json.dumps(order).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            _connect(connection, socket_path)
            connection.sendall(struct.pack("!I", len(data)) + data)
            reply = json.loads(_receive(connection, struct.unpack("!I", _receive(connection, 4))[0]))
    except (OSError, EOFError) as error:
        raise HostUnreachable(f"Host {socket_path.stem} does not answer ({error or 'connection closed'}).") from error
    if message := reply.get("error"):
        log = reply.get("log", "")
        raise OrderFailed(f"{message}\n{log}".strip())
    return reply


def _connect(connection: socket.socket, path: Path) -> None:
    # A socket's path may have 107 bytes; going through an open directory keeps deep state directories possible.
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(1 << 16, size - len(data)))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)
