"""Bring up a lab: from a configuration to every node idle."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources import files
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from slurmlab import slurmconf
from slurmlab.config import LabConfig
from slurmlab.control import send_order
from slurmlab.engine import Engine, require_network
from slurmlab.errors import EngineError, HostUnreachable, LabFailed, OrderFailed
from slurmlab.hosts import SLURMCTLD_PORT, SLURMRESTD_PORT, SSH_PORT, host_spec
from slurmlab.images import ensure_images
from slurmlab.site import accounting_script, associations_file
from slurmlab.state import LabRecord
from slurmlab.tear_down import tear_down

Say = Callable[[str], None]

SETTLE_S = 0.5


def bring_up(engine: Engine, config: LabConfig, say: Say) -> LabRecord:
    """Make the lab; the caller holds its lock and has seen that no such lab runs.

    Raises LabFailed with the end of the culprit's log and what to do; what was started is left for `logs` and `down`.
    """
    require_network(engine)
    login_image, slurm_image = ensure_images(engine, config.release, say)
    started = time.monotonic()
    tear_down(engine, config.name)
    record = _record(engine, config)
    record.directory.mkdir(parents=True, mode=0o755)
    record.save()
    _write_files(config, record)
    say(f"starting {len(record.hosts)} hosts")

    def start(host: str) -> None:
        _start_host(engine, record, host, login_image if host == "login" else slurm_image)

    # The controller's database takes longest, so it goes first; the engine's own locks make more than a few useless.
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(start, record.hosts))
    say("waiting for every node to be idle")
    _wait_until_idle(config, record)
    _write_known_hosts(record)
    running = replace(record, phase="running")
    running.save()
    say(f"all nodes idle after {time.monotonic() - started:.1f} s")
    return running


def container_name(lab: str, host: str) -> str:
    """What the engine calls a host of a lab."""
    return f"slurmlab-{lab}-{host}"


def _record(engine: Engine, config: LabConfig) -> LabRecord:
    ports = _ports((config.slurmrestd_port, config.ssh_port, config.controller_port))
    network = f"slurmlab-{config.name}"
    subnet = _make_network(engine, network, config.name)
    addresses = ip_network(subnet)
    hosts = {"controller": str(addresses[10]), "login": str(addresses[11])}
    hosts |= {host: str(addresses[20 + i]) for i, host in enumerate(config.compute_hosts)}
    return LabRecord(
        name=config.name,
        slurm=config.slurm,
        engine=engine.kind,
        network=network,
        gateway=str(addresses[1]),
        hosts=hosts,
        users=[u.name for u in config.site.users],
        slurmrestd_port=ports[0],
        ssh_port=ports[1],
        controller_port=ports[2],
        phase="starting",
        created_at_s=time.time(),
    )


def _make_network(engine: Engine, network: str, lab: str) -> str:
    options = ["--label", f"slurmlab.lab={lab}"]
    if engine.kind == "podman":
        # Names come from one hosts file that all hosts share, so a cut or a restart never waits for a resolver.
        options.append("--disable-dns")
    engine.call("network", "create", *options, network)
    found = engine.inspect("network", "inspect", network)[0]
    if engine.kind == "podman":
        return str(found["subnets"][0]["subnet"])
    return str(found["IPAM"]["Config"][0]["Subnet"])


def _ports(wanted: tuple[int | None, ...]) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on now; all are held at once, so that no two are the same."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in wanted:
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port or 0))
            except OSError as error:
                raise LabFailed(f"Port {port} of 127.0.0.1 cannot be had: {error.strerror}. Choose another.") from error
            ports.append(int(probe.getsockname()[1]))
        return ports


def _write_files(config: LabConfig, record: LabRecord) -> None:
    directory = record.directory
    for name in ("home", "ssh", "slurm", "keys"):
        (directory / name).mkdir(mode=0o755)
    (directory / "slurm" / "gpus").mkdir()
    (directory / "keys").chmod(0o700)
    (directory / "ssh").chmod(0o700)
    names = "".join(f"{address}\t{host}\n" for host, address in record.hosts.items())
    (directory / "hostnames").write_text(f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{names}")
    conf = slurmconf.render(config)
    for name, text in conf.items():
        if name != "slurmdbd.conf":
            (directory / "slurm" / name).write_text(text)
    jwt_key = secrets.token_bytes(32)
    munge_key = secrets.token_bytes(128)
    _write_secret(directory / "keys" / "jwt_hs256.key", jwt_key)
    (directory / "hostinit.py").write_bytes(files("slurmlab").joinpath("image", "hostinit.py").read_bytes())
    for host in record.hosts:
        base = directory / "hosts" / host
        for name in ("etc", "log", "control"):
            (base / name).mkdir(parents=True, mode=0o755)
        (base / "etc").chmod(0o700)
        (base / "control").chmod(0o700)
        (base / "etc" / f"{host}.json").write_text(json.dumps(host_spec(config, host)))
        if host != "login":
            _write_secret(base / "etc" / "munge.key", munge_key)
    login = directory / "hosts" / "login" / "etc"
    (login / "sshd_config").write_text(slurmconf.sshd_config())
    controller = directory / "hosts" / "controller" / "etc"
    _write_secret(controller / "jwt_hs256.key", jwt_key)
    _write_secret(controller / "slurmdbd.conf", conf["slurmdbd.conf"].encode())
    (controller / "accounts").write_text(accounting_script(config.site, config.name))
    (controller / "associations").write_text(associations_file(config.site, config.name))
    if config.jwks_file:
        (controller / "jwks.json").write_bytes(config.jwks_file.read_bytes())


def _write_secret(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _start_host(engine: Engine, record: LabRecord, host: str, image: str) -> None:
    directory = record.directory
    base = directory / "hosts" / host
    args = ["run", "--detach", "--name", container_name(record.name, host), "--hostname", host]
    args += ["--label", f"slurmlab.lab={record.name}", "--label", f"slurmlab.host={host}"]
    args += ["--network", record.network, "--ip", record.hosts[host], *engine.ulimits]
    # strace slows a disk (see faults); a user's ping works as it does at a site.
    args += ["--cap-add", "SYS_PTRACE", "--cap-add", "NET_RAW", "--tmpfs", "/run:mode=0755"]
    if engine.kind == "podman":
        args += ["--no-hosts", "--log-driver", "k8s-file"]
    mounts = [
        (directory / "hostnames", "/etc/hosts", "ro"),
        (directory / "hostinit.py", "/usr/local/lib/slurmlab/hostinit.py", "ro"),
        (base / "etc", "/etc/slurmlab", "ro"),
        (base / "log", "/var/log/slurmlab", "rw"),
        (base / "control", "/var/lib/slurmlab-control", "rw"),
        (directory / "home", "/home", "rw"),
    ]
    if host == "login":
        mounts.append((directory / "ssh", "/var/lib/slurmlab-ssh", "rw"))
        args += _publish(record.ssh_port, SSH_PORT)
    else:
        mounts.append((directory / "slurm", "/etc/slurm", "rw" if host == "controller" else "ro"))
    if host == "controller":
        args += _publish(record.slurmrestd_port, SLURMRESTD_PORT) + _publish(record.controller_port, SLURMCTLD_PORT)
    for source, target, mode in mounts:
        args += ["--volume", f"{source}:{target}:{mode}"]
    argv = ["/usr/bin/python3", "-I", "/usr/local/lib/slurmlab/hostinit.py", host]
    try:
        engine.call(*args, "--pull=never", image, *argv, timeout_s=60)
    except EngineError as error:
        raise LabFailed(
            f"Host {host} of lab '{record.name}' did not start. {error}\n"
            f"Check this machine with: slurmlab doctor. Remove what was started with: slurmlab down {record.name}"
        ) from error


def _publish(host_port: int, port: int) -> list[str]:
    return ["--publish", f"127.0.0.1:{host_port}:{port}"]


def _wait_until_idle(config: LabConfig, record: LabRecord) -> None:
    deadline = time.monotonic() + config.up_timeout_s
    states: dict[str, str] = {}
    while time.monotonic() < deadline:
        if _failed_services(record):
            # One bad line ends several daemons within moments, and the first is not the one that explains it best.
            time.sleep(SETTLE_S)
            raise _failure(record, _failed_services(record))
        if _is_ready(record, "controller", "slurmctld"):
            states = _node_states(record)
            idle = [name for name, state in states.items() if state == "idle"]
            if len(idle) == config.nodes and _everything_ready(record) and _knows_its_users(config, record):
                return
        time.sleep(0.1)
    if states and set(states.values()) != {"idle"}:
        late = sorted(name for name, state in states.items() if state != "idle") or ["controller"]
        raise _failure(record, [(late[0], "slurmd", f"state {states.get(late[0], 'unknown')}")])
    raise _failure(record, [("controller", "slurmctld", "no answer")])


def _status(record: LabRecord, host: str) -> dict[str, Any]:
    try:
        return send_order(record.control_socket(host), {"op": "status"}, timeout_s=5)
    except (HostUnreachable, OrderFailed):
        return {"services": {}, "problem": ""}


def _failed_services(record: LabRecord) -> list[tuple[str, str, str]]:
    """Host, service and how it ended, those that others wait for first."""
    failed: list[tuple[str, str, str]] = []
    for host in record.hosts:
        status = _status(record, host)
        if status["problem"]:
            failed.append((host, "host", str(status["problem"])))
        failed += [
            (host, name, f"exit status {service['exit_status']}")
            for name, service in status["services"].items()
            if service["state"] == "failed" and service["exit_status"] is not None
        ]
    return failed


def _is_ready(record: LabRecord, host: str, service: str) -> bool:
    return _status(record, host)["services"].get(service, {}).get("state") == "ready"


def _everything_ready(record: LabRecord) -> bool:
    return all(
        service["state"] in {"ready", "done"}
        for host in record.hosts
        for service in (_status(record, host)["services"] or {"": {"state": "absent"}}).values()
    )


def _node_states(record: LabRecord) -> dict[str, str]:
    said = _ask_slurm(record, "sinfo", "--noheader", "--Node", "--format", "%N %T")
    return dict(line.split(None, 1) for line in said.splitlines() if " " in line)


def _knows_its_users(config: LabConfig, record: LabRecord) -> bool:
    """Whether slurmctld can place every user's job; it resolves their ids a moment after it starts to answer."""
    said = _ask_slurm(record, "scontrol", "show", "assoc_mgr", "flags=users")
    return all(f"UserName={user.name}({config.site.uid(user.name)})" in said for user in config.site.users)


def _ask_slurm(record: LabRecord, *argv: str) -> str:
    """What a Slurm command on the controller says; nothing while it cannot say anything."""
    order = {"op": "exec", "argv": list(argv), "timeout_s": 5}
    try:
        return str(send_order(record.control_socket("controller"), order, timeout_s=8)["stdout"])
    except (HostUnreachable, OrderFailed):
        return ""


def _failure(record: LabRecord, culprits: list[tuple[str, str, str]]) -> LabFailed:
    told = [
        f"{service} on {host}: {how}. The end of its log:\n{_tail(record, host, service)}"
        for host, service, how in culprits[:3]
    ]
    return LabFailed(
        f"Lab '{record.name}' did not come up: " + "\n".join(told) + "\n"
        f"More: slurmlab logs {record.name}. Remove it with: slurmlab down {record.name}"
    )


def _tail(record: LabRecord, host: str, service: str) -> str:
    lines: list[str] = []
    for suffix in ("log", "out"):
        # A daemon says everything twice once it has opened its log; its output matters only when it never got there.
        path = record.log_directory(host) / f"{service}.{suffix}"
        if not lines and path.exists():
            lines = path.read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-12:]) or "  (its log is empty)"


def _write_known_hosts(record: LabRecord) -> None:
    key = (record.directory / "ssh" / "host_key.pub").read_text().split()[:2]
    line = f"[127.0.0.1]:{record.ssh_port} {' '.join(key)}\n"
    (record.directory / "ssh" / "known_hosts").write_text(line)
