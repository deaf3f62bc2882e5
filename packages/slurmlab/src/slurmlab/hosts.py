"""What runs on each host of a lab: its services, their order, their directories, and the files they need."""

from __future__ import annotations

from typing import Any

from slurmlab.config import LabConfig
from slurmlab.site import FIRST_UID

SLURMRESTD_PORT = 6820
SLURMCTLD_PORT = 6817
SSH_PORT = 22

_MUNGED: dict[str, Any] = {
    "name": "munged",
    "argv": ["/usr/sbin/munged", "--foreground", "--force"],
    "user": "munge",
    "ready": {"unix": "/run/munge/munge.socket.2"},
    "stale": ["/run/munge/munge.socket.2", "/run/munge/munge.socket.2.lock"],
}


def host_spec(config: LabConfig, host: str) -> dict[str, Any]:
    """What hostinit.py reads on `host`: users, directories, files and services."""
    spec: dict[str, Any] = {
        "groups": [
            {"name": a.name, "gid": 3001 + i, "members": _members(config, a.name)} for i, a in _accounts(config)
        ],
        "users": [
            {
                "name": u.name,
                "uid": FIRST_UID + i,
                "gid": 3001 + [a.name for a in config.site.accounts].index(u.accounts[0]),
                "full_name": u.full_name,
            }
            for i, u in enumerate(config.site.users)
        ],
        "directories": [],
        "files": [],
        "services": [],
    }
    if host == "controller":
        _controller(config, spec)
    elif host == "login":
        _login(spec)
    else:
        _compute(host, spec)
    return spec


def _accounts(config: LabConfig) -> list[tuple[int, Any]]:
    return list(enumerate(config.site.accounts))


def _members(config: LabConfig, account: str) -> list[str]:
    return [u.name for u in config.site.users if account in u.accounts]


def _directory(path: str, owner: str, mode: str = "0755") -> dict[str, str]:
    return {"path": path, "owner": owner, "group": owner, "mode": mode}


def _file(source: str, path: str, owner: str, mode: str) -> dict[str, str]:
    return {"source": source, "path": path, "owner": owner, "group": owner, "mode": mode}


def _munge(spec: dict[str, Any]) -> None:
    spec["directories"] += [_directory("/run/munge", "munge"), _directory("/var/log/munge", "munge", "0700")]
    spec["files"] += [_file("munge.key", "/etc/munge/munge.key", "munge", "0400")]
    spec["services"] += [_MUNGED]


def _controller(config: LabConfig, spec: dict[str, Any]) -> None:
    _munge(spec)
    spec["make_homes"] = True
    spec["directories"] += [
        _directory("/run/mysqld", "mysql"),
        _directory("/run/slurm", "slurm"),
        _directory("/var/spool/slurmctld", "slurm", "0700"),
        _directory("/etc/slurm-keys", "slurm", "0700"),
    ]
    spec["files"] += [
        _file("jwt_hs256.key", "/etc/slurm-keys/jwt_hs256.key", "slurm", "0600"),
        # slurmdbd insists on owning its configuration, with nobody else able to read it.
        _file("slurmdbd.conf", "/etc/slurm/slurmdbd.conf", "slurm", "0600"),
    ]
    if config.jwks_file:
        spec["files"] += [_file("jwks.json", "/etc/slurm-keys/jwks.json", "slurm", "0644")]
    spec["services"] += [
        {
            "name": "mariadbd",
            "argv": ["/usr/sbin/mariadbd", "--user=mysql"],
            "ready": {"unix": "/run/mysqld/mysqld.sock"},
            "stale": ["/run/mysqld/mysqld.sock"],
        },
        {
            "name": "slurmdbd",
            "argv": ["/usr/sbin/slurmdbd", "-D"],
            "user": "slurm",
            "ready": {"tcp": 6819},
            "after": ["munged", "mariadbd"],
        },
        {
            "name": "accounts",
            "argv": ["/bin/sh", "-e", "/etc/slurmlab/accounts"],
            "after": ["slurmdbd"],
            "once": "/var/lib/slurmlab/accounts-loaded",
        },
        {
            "name": "slurmctld",
            "argv": ["/usr/sbin/slurmctld", "-D"],
            "user": "slurm",
            "ready": {"tcp": SLURMCTLD_PORT},
            "after": ["munged", "accounts"],
        },
        {
            "name": "slurmrestd",
            "argv": ["/usr/sbin/slurmrestd", "-a", "rest_auth/jwt", f"0.0.0.0:{SLURMRESTD_PORT}"],
            "user": "slurmrest",
            "env": {"SLURM_JWT": "daemon"},
            "ready": {"tcp": SLURMRESTD_PORT},
        },
    ]


def _login(spec: dict[str, Any]) -> None:
    spec["ssh_keys"] = "/var/lib/slurmlab-ssh"
    spec["directories"] += [_directory("/run/sshd", "root")]
    spec["files"] += [_file("sshd_config", "/etc/ssh/sshd_config", "root", "0644")]
    spec["services"] += [{"name": "sshd", "argv": ["/usr/sbin/sshd", "-D", "-e"], "ready": {"tcp": SSH_PORT}}]


def _compute(host: str, spec: dict[str, Any]) -> None:
    _munge(spec)
    spec["directories"] += [_directory("/run/slurm", "root"), _directory("/var/spool/slurmd", "root")]
    spec["services"] += [
        {
            "name": "slurmd",
            "argv": ["/usr/sbin/slurmd", "-D", "-N", host],
            "ready": {"tcp": 6818},
            "after": ["munged"],
        }
    ]
