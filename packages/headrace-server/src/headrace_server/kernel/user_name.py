"""Which names may be acted as: the one rule, for accounts, tokens and certificates."""

import re

from headrace_server.kernel.errors import Invalid

# What useradd and the directories behind sites' accounts give; nothing that means something to SSH or to Slurm.
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)
# Acting as these would be acting as the cluster itself.
NEVER = frozenset({"root", "slurm", "munge", "nobody"})


class UserNameInvalid(Invalid):
    """This is not the name of an ordinary user."""

    code = "user-name-invalid"


def checked_user_name(name: str) -> str:
    """Return `name`, or raise `UserNameInvalid`: no account, token or certificate is made for anything else."""
    if USER_NAME.fullmatch(name) is None:
        raise UserNameInvalid(
            f"{name[:40]!r} is not a user name: 1 to 32 letters, digits, _, . and -, the first a letter or _.",
            field="user",
            asked=name[:40],
        )
    if name.lower() in NEVER:
        raise UserNameInvalid(f"Headrace does not act as {name}.", field="user", asked=name)
    return name
