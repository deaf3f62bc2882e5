"""Process 1 of every host of a lab: starts the host's services, reaps what dies, and takes orders on a socket.

Runs on the suite's own Python with the standard library only. What to do is read from /etc/slurmlab/HOST.json, written
by `slurmlab`; orders come as one JSON object a connection on /var/lib/slurmlab-control/HOST.sock, a socket that only
the lab's owner can reach. A host has no systemd, so that killing, pausing and starting one daemon stays simple.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LAB = Path("/etc/slurmlab")
CONTROL = Path("/var/lib/slurmlab-control")
LOGS = Path("/var/log/slurmlab")
POLL_S = 0.02


def main() -> None:
    """Prepare the host, start its services in order, then serve orders for ever."""
    host = sys.argv[1]
    spec: dict[str, Any] = json.loads((LAB / f"{host}.json").read_text())
    init = HostInit(host, spec)
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=init.serve, daemon=True).start()
    threading.Thread(target=init.bring_up, daemon=True).start()
    init.reap_forever()


def end(_signal: int, _frame: object) -> None:
    """Leave at once; the kernel ends whatever else runs here."""
    os._exit(0)


class Service:
    """One daemon of this host: what starts it, and what is known of its life."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.name: str = spec["name"]
        self.spec = spec
        self.pid: int | None = None
        self.wanted = False
        self.paused = False
        self.exit_status: int | None = None
        self.done = False
        self.note = ""

    def describe(self) -> dict[str, Any]:
        """What `slurmlab status` shows of it."""
        state = "stopped"
        if self.done:
            state = "done"
        elif self.pid is not None:
            state = "paused" if self.paused else ("ready" if self.is_ready() else "starting")
        elif self.wanted:
            state = "failed"
        return {"state": state, "pid": self.pid, "exit_status": self.exit_status, "note": self.note}

    def serves(self) -> bool:
        """Whether what waits for it may start: a daemon is ready, a one-time job is done."""
        if "once" in self.spec:
            return self.done
        return self.pid is not None and self.is_ready()

    def is_ready(self) -> bool:
        """Whether the daemon answers where its clients will look for it."""
        ready: dict[str, Any] = self.spec.get("ready", {})
        if "tcp" in ready and not is_listening(ready["tcp"]):
            return False
        if "unix" in ready:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(ready["unix"])
                except OSError:
                    return False
        return True


class HostInit:
    """The host's services and the children that carry them."""

    def __init__(self, host: str, spec: dict[str, Any]) -> None:
        self.host = host
        self.spec = spec
        self.services = {s["name"]: Service(s) for s in spec["services"]}
        self.lock = threading.Lock()
        self.exits: dict[int, int] = {}
        self.exited = threading.Condition(self.lock)
        self.waited: set[int] = set()
        self.started_at = time.time()
        self.problem = ""

    # -- bringing the host up

    def bring_up(self) -> None:
        """Files, users and directories first, then each service once those it needs are ready."""
        try:
            self.prepare()
        except Exception as error:  # noqa: BLE001  the edge of this thread: the owner reads it through `status`
            self.problem = f"preparing the host: {type(error).__name__}: {error}"
            return
        for service in self.services.values():
            service.wanted = True
        threads = [threading.Thread(target=self.start_in_order, args=(s,), daemon=True) for s in self.services.values()]
        for thread in threads:
            thread.start()

    def prepare(self) -> None:
        """Accounts, directories and secrets, with the owners the daemons insist on."""
        LOGS.mkdir(parents=True, exist_ok=True)
        LOGS.chmod(0o1777)
        add_accounts(self.spec["groups"], self.spec["users"])
        for d in self.spec["directories"]:
            path = Path(d["path"])
            path.mkdir(parents=True, exist_ok=True)
            shutil.chown(path, d["owner"], d["group"])
            path.chmod(int(d["mode"], 8))
        for f in self.spec["files"]:
            install_file(LAB / f["source"], Path(f["path"]), f["owner"], f["group"], int(f["mode"], 8))
        if self.spec.get("make_homes"):
            make_homes(self.spec["users"])
        if self.spec.get("ssh_keys"):
            make_ssh_keys(Path(self.spec["ssh_keys"]), self.host)

    def start_in_order(self, service: Service) -> None:
        """Start a service once those it needs are ready."""
        for name in service.spec.get("after", []):
            while not self.services[name].serves():
                time.sleep(POLL_S)
        with self.lock:
            if service.wanted and service.pid is None:
                self.start(service)

    # -- the life of one service; `lock` is held

    def start(self, service: Service) -> None:
        """Start a service unless it runs, or has done its one job on an earlier start of this host."""
        if service.pid is not None:
            return
        marker = service.spec.get("once")
        if marker and Path(marker).exists():
            service.done = True
            return
        service.wanted = True
        service.paused = False
        service.done = False
        service.exit_status = None
        for stale in service.spec.get("stale", []):
            Path(stale).unlink(missing_ok=True)
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        env.update(service.spec.get("env", {}))
        log = (LOGS / f"{service.name}.out").open("ab")
        try:
            service.pid = spawn(service.spec["argv"], service.spec.get("user", "root"), env, log.fileno())
        except OSError as error:
            service.note = str(error)
            service.exit_status = 127
        finally:
            log.close()

    def note_exit(self, pid: int, status: int) -> None:
        """Remember how a service ended."""
        for service in self.services.values():
            if service.pid == pid:
                service.pid = None
                service.paused = False
                service.exit_status = status
                marker = service.spec.get("once")
                if marker and status == 0:
                    Path(marker).parent.mkdir(parents=True, exist_ok=True)
                    Path(marker).touch()
                    service.done = True

    def reap_forever(self) -> None:
        """Collect every child, adopted ones too: process 1 must, or the host fills with zombies."""
        while True:
            try:
                pid, raw = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(POLL_S)
                continue
            status = os.waitstatus_to_exitcode(raw)
            with self.exited:
                self.note_exit(pid, status)
                if pid in self.waited:
                    self.exits[pid] = status
                    self.exited.notify_all()

    def stop(self, service: Service, sig: int, timeout_s: float) -> None:
        """Send `sig` to a service and wait until it is gone, killing it at the end of the patience."""
        service.wanted = False
        pid = service.pid
        if pid is None:
            return
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, sig)
        deadline = time.monotonic() + timeout_s
        while service.pid == pid:
            left = deadline - time.monotonic()
            if left <= 0:
                os.kill(pid, signal.SIGKILL)
                deadline = time.monotonic() + 5
            self.lock.release()
            time.sleep(POLL_S)
            self.lock.acquire()

    # -- orders

    def serve(self) -> None:
        """Listen for orders; each connection is answered in a thread of its own."""
        path = CONTROL / f"{self.host}.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(path))
            path.chmod(0o600)
            server.listen(64)
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        """Take one order from a connection and send what came of it."""
        with connection:
            try:
                reply = self.obey(json.loads(receive(connection)))
            except Exception as error:  # noqa: BLE001  the edge of one order: the asker gets the reason
                reply = {"error": f"{type(error).__name__}: {error}"}
            try:
                send(connection, json.dumps(reply).encode())
            except OSError:
                return

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order and say what the world looks like after it."""
        op, name = order["op"], order.get("service", "")
        if op == "status":
            services = list(self.services.values())
            return {"services": {s.name: s.describe() for s in services}, "problem": self.problem}
        if op == "exec":
            return self.run(order)
        if op == "add" and name not in self.services:
            self.services[name] = Service(order["spec"])
            op = "start"
        service = self.services.get(name)
        if service is None:
            return {"error": f"{self.host} has no service {name}; it has: {', '.join(self.services)}"}
        if op in {"pause", "resume"} and service.pid is None:
            return {"error": f"{name} on {self.host} is not running"}
        with self.lock:
            self.change(service, op, order.get("timeout_s", 10.0))
        if op in {"start", "resume"} and not self.wait_ready(service, 20.0):
            return {"error": f"{name} on {self.host} did not become ready", "log": self.tail(name)}
        return service.describe()

    def change(self, service: Service, op: str, timeout_s: float) -> None:
        """Start, stop, kill, pause, resume or remove one service; `lock` is held."""
        if op == "start":
            self.start(service)
        elif op == "stop":
            self.stop(service, signal.SIGTERM, timeout_s)
        elif op == "kill":
            self.stop(service, signal.SIGKILL, 5.0)
        elif op == "remove":
            self.stop(service, signal.SIGTERM, 5.0)
            del self.services[service.name]
        elif op in {"pause", "resume"} and service.pid is not None:
            os.kill(service.pid, signal.SIGSTOP if op == "pause" else signal.SIGCONT)
            service.paused = op == "pause"
        else:
            raise ValueError(f"unknown order {op}")

    def wait_ready(self, service: Service, timeout_s: float) -> bool:
        """Wait until a service is ready; False when it ended or took too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if service.serves():
                return True
            if service.pid is None and service.exit_status is not None:
                return False
            time.sleep(POLL_S)
        return False

    def tail(self, name: str, size: int = 4000) -> str:
        """The end of a service's own log, or of its output where it never opened one."""
        for path in (LOGS / f"{name}.log", LOGS / f"{name}.out"):
            if path.exists() and (text := path.read_bytes()[-size:].decode(errors="replace")):
                return text
        return ""

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run a program to its end, as a user, with its output caught."""
        user = order.get("user") or "root"
        account = pwd.getpwnam(user)
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": account.pw_dir,
            "USER": user,
            "LOGNAME": user,
            "SHELL": account.pw_shell,
            **order.get("env", {}),
        }
        cwd = order.get("cwd") or (account.pw_dir if Path(account.pw_dir).is_dir() else "/")
        out_r, out_w = os.pipe()
        err_r, err_w = os.pipe()
        in_r, in_w = os.pipe()
        with self.exited:
            try:
                pid = spawn(order["argv"], user, env, out_w, stderr=err_w, stdin=in_r, cwd=cwd)
            except OSError as error:
                for fd in (out_r, err_r, in_w):
                    os.close(fd)
                return {"exit_status": 127, "stdout": "", "stderr": f"{error}\n", "timed_out": False}
            finally:
                for fd in (out_w, err_w, in_r):
                    os.close(fd)
            self.waited.add(pid)
        stdin = order.get("stdin", "").encode("utf-8", "surrogateescape")
        outputs, timed_out = pump(pid, in_w, stdin, (out_r, err_r), order.get("timeout_s"))
        with self.exited:
            while pid not in self.exits:
                self.exited.wait()
            status = self.exits.pop(pid)
            self.waited.discard(pid)
        out, err = (o.decode("utf-8", "surrogateescape") for o in outputs)
        return {"exit_status": status, "stdout": out, "stderr": err, "timed_out": timed_out}


def spawn(
    argv: list[str],
    user: str,
    env: dict[str, str],
    stdout: int,
    *,
    stderr: int | None = None,
    stdin: int | None = None,
    cwd: str = "/",
) -> int:
    """Start a program in a session of its own, as `user`, and return its pid; the reaper collects it."""
    account = pwd.getpwnam(user)
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout,
        stderr=stdout if stderr is None else stderr,
        env=env,
        cwd=cwd,
        start_new_session=True,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid) if user != "root" else [],
        umask=0o022,
    )
    pid = process.pid
    # The reaper owns every exit status; without this Popen's finaliser would wait for the child as well.
    process.returncode = 0
    return pid


def pump(
    pid: int, stdin_fd: int, stdin: bytes, outputs: tuple[int, int], timeout_s: float | None
) -> tuple[list[bytes], bool]:
    """Feed the child and gather what it says until both outputs close; kill its session at the time limit."""
    threading.Thread(target=feed, args=(stdin_fd, stdin), daemon=True).start()
    gathered = {fd: bytearray() for fd in outputs}
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    timed_out = False
    with selectors.DefaultSelector() as selector:
        for fd in outputs:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            events = selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if not events:
                timed_out = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                break
            for key, _ in events:
                if chunk := os.read(key.fd, 65536):
                    gathered[key.fd] += chunk
                else:
                    selector.unregister(key.fd)
    for fd in outputs:
        os.close(fd)
    return [bytes(gathered[fd]) for fd in outputs], timed_out


def feed(fd: int, data: bytes) -> None:
    """Write all of a child's input; a child that does not read it to the end is no error."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as file:
        file.write(data)


def is_listening(port: int) -> bool:
    """Whether a socket of this host listens on `port`; read from /proc, as a probe would show in the daemon's log."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


def add_accounts(groups: list[dict[str, Any]], users: list[dict[str, Any]]) -> None:
    """Add the site's groups and users to the host's own files, once."""
    known_groups = {g.gr_name for g in grp.getgrall()}
    with Path("/etc/group").open("a") as file:
        for g in groups:
            if g["name"] not in known_groups:
                file.write(f"{g['name']}:x:{g['gid']}:{','.join(g['members'])}\n")
    known_users = {u.pw_name for u in pwd.getpwall()}
    with Path("/etc/passwd").open("a") as passwd, Path("/etc/shadow").open("a") as shadow:
        for u in users:
            if u["name"] not in known_users:
                passwd.write(f"{u['name']}:x:{u['uid']}:{u['gid']}:{u['full_name']}:/home/{u['name']}:/bin/bash\n")
                # A star is a password nobody can type; a '!' would make sshd refuse keys and certificates too.
                shadow.write(f"{u['name']}:*:20000:0:99999:7:::\n")


def make_homes(users: list[dict[str, Any]]) -> None:
    """One home a user, on the file system that all hosts share."""
    for u in users:
        home = Path("/home") / u["name"]
        if home.exists():
            continue
        home.mkdir(mode=0o700)
        for skeleton in Path("/etc/skel").iterdir():
            shutil.copy(skeleton, home / skeleton.name)
        for path in (home, *home.iterdir()):
            os.chown(path, u["uid"], u["gid"])


def make_ssh_keys(directory: Path, host: str) -> None:
    """The lab's user CA and this host's key, made once, left where the lab's owner can read them."""
    for name, comment in (("user_ca", "slurmlab user CA"), ("host_key", host)):
        path = directory / name
        if not path.exists():
            subprocess.run(
                ["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True
            )
    install_file(directory / "host_key", Path("/etc/ssh/ssh_host_ed25519_key"), "root", "root", 0o600)
    install_file(directory / "host_key.pub", Path("/etc/ssh/ssh_host_ed25519_key.pub"), "root", "root", 0o644)
    install_file(directory / "user_ca.pub", Path("/etc/ssh/user_ca.pub"), "root", "root", 0o644)


def install_file(source: Path, target: Path, owner: str, group: str, mode: int) -> None:
    """Copy with an owner and a mode, never readable by others in between."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(source.read_bytes())
    shutil.chown(target, owner, group)
    target.chmod(mode)


def receive(connection: socket.socket) -> bytes:
    """One message: four bytes of length, then that many of JSON."""
    return receive_exactly(connection, struct.unpack("!I", receive_exactly(connection, 4))[0])


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or an EOFError."""
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(65536, size - len(data)))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def send(connection: socket.socket, data: bytes) -> None:
    """One message, as `receive` reads it."""
    connection.sendall(struct.pack("!I", len(data)) + data)


if __name__ == "__main__":
    main()
