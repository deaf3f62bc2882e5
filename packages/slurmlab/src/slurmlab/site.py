"""The small believable site that a lab is: who works there, in which accounts, under which limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from slurmlab.errors import ConfigError

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
FIRST_UID = 2001


class Role(StrEnum):
    """What a person may do in Slurm beyond running jobs."""

    USER = "user"
    PI = "pi"
    """Coordinator of their account: may change its limits and members."""
    OPERATOR = "operator"
    """Slurm's AdminLevel Operator: may hold, cancel and change anybody's jobs."""


@dataclass(frozen=True, slots=True)
class User:
    """A person with a home and an association; `accounts` starts with the default one."""

    name: str
    accounts: tuple[str, ...]
    role: Role = Role.USER
    full_name: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"'{self.name}' cannot be a user's name: use a-z, 0-9 and _, starting with a letter.")
        if not self.accounts:
            raise ConfigError(f"User '{self.name}' needs at least one account.")


@dataclass(frozen=True, slots=True)
class Account:
    """A Slurm account and its share of the machine."""

    name: str
    description: str
    fair_share: int = 1

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"'{self.name}' cannot be an account's name: use a-z, 0-9 and _, starting with a letter.")


@dataclass(frozen=True, slots=True)
class Qos:
    """A quality of service: `limits` are sacctmgr's own words, such as ``{"MaxWall": "00:30:00"}``."""

    name: str
    priority: int = 0
    limits: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(f"'{self.name}' cannot be a QOS's name: use a-z, 0-9 and _, starting with a letter.")
        for key, value in self.limits.items():
            if not re.fullmatch(r"[A-Za-z]+", key) or not re.fullmatch(r"[A-Za-z0-9=,:/_.-]+", value):
                raise ConfigError(f"QOS '{self.name}': the limit {key}={value} has characters that sacctmgr refuses.")


@dataclass(frozen=True, slots=True)
class Site:
    """People, accounts, QOS and licences of a lab. The default is what the documentation's examples use."""

    users: tuple[User, ...]
    accounts: tuple[Account, ...]
    qos: tuple[Qos, ...]
    licences: dict[str, int]

    def __post_init__(self) -> None:
        known = {a.name for a in self.accounts}
        for user in self.users:
            for account in user.accounts:
                if account not in known:
                    raise ConfigError(f"User '{user.name}' is in account '{account}', which the site does not have.")

    def uid(self, user_name: str) -> int:
        """The numeric id of a user, the same on every host of the lab."""
        return FIRST_UID + [u.name for u in self.users].index(user_name)


def default_site() -> Site:
    """Six people in physics and quant: four ordinary users, a PI and an operator."""
    return Site(
        users=(
            User("ada", ("physics",), full_name="Ada Brandt"),
            User("bo", ("physics",), full_name="Bo Lindqvist"),
            User("chen", ("quant",), full_name="Chen Wei"),
            User("dara", ("quant", "physics"), full_name="Dara Okafor"),
            User("petra", ("physics", "quant"), Role.PI, "Petra Novak"),
            User("olga", ("physics",), Role.OPERATOR, "Olga Reyes"),
        ),
        accounts=(
            Account("physics", "Condensed matter group", fair_share=60),
            Account("quant", "Systematic strategies", fair_share=40),
        ),
        qos=(
            Qos("normal"),
            Qos("high", priority=1000, limits={"MaxTRESPerUser": "cpu=64", "MaxWall": "04:00:00"}),
            Qos("debug", priority=5000, limits={"MaxJobsPerUser": "2", "MaxWall": "00:30:00"}),
        ),
        licences={"solver": 8},
    )


def accounting_script(site: Site, cluster: str) -> str:
    """The sacctmgr commands that bring the accounting database to this site, one a line, for ``sh -e``."""
    lines = [f"sacctmgr -i -Q add cluster {cluster}"]
    for qos in site.qos:
        settings = {"Priority": str(qos.priority), **qos.limits}
        words = " ".join(f"{key}={value}" for key, value in settings.items())
        verb = "modify qos {} set" if qos.name == "normal" else "add qos {}"
        lines.append(f"sacctmgr -i -Q {verb.format(qos.name)} {words}")
    lines.append("sacctmgr -i -Q load file=/etc/slurmlab/associations")
    lines += [
        f"sacctmgr -i -Q add coordinator account={','.join(user.accounts)} names={user.name}"
        for user in site.users
        if user.role is Role.PI
    ]
    return "\n".join(lines) + "\n"


def associations_file(site: Site, cluster: str) -> str:
    """The tree of accounts and users in sacctmgr's dump format, loaded in one transaction."""
    every_qos = ",".join(q.name for q in site.qos)
    lines = [
        f"Cluster - '{cluster}':Fairshare=1",
        "Parent - 'root'",
        "User - 'root':DefaultAccount='root':AdminLevel='Administrator':Fairshare=1",
    ]
    lines += [
        f"Account - '{a.name}':Description='{a.description}':Organization='lab':Fairshare={a.fair_share}"
        f":QOS='{every_qos}':DefaultQOS='normal'"
        for a in site.accounts
    ]
    for account in site.accounts:
        lines.append(f"Parent - '{account.name}'")
        for user in site.users:
            if account.name not in user.accounts:
                continue
            admin = ":AdminLevel='Operator'" if user.role is Role.OPERATOR else ""
            lines.append(f"User - '{user.name}':DefaultAccount='{user.accounts[0]}'{admin}:Fairshare=1")
    return "\n".join(lines) + "\n"
