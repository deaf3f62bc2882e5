"""Which names may be acted as."""

import re

from headrace_server.clusters.model import UserNameInvalid

# What useradd and the directories behind sites' accounts give; nothing that means something to SSH or to Slurm.
USER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", re.ASCII)
# Acting as these would be acting as the cluster itself.
NEVER = frozenset({"root", "slurm", "munge", "nobody"})


def checked_user(user: str) -> str:
    """Return `user`, or raise `UserNameInvalid`: a token or certificate is never made for anything else."""
    if USER_NAME.fullmatch(user) is None:
        raise UserNameInvalid(f"{user[:40]!r} is not a user name.", field="user", asked=user[:40])
    if user.lower() in NEVER:
        raise UserNameInvalid(f"Headrace does not act as {user}.", field="user", asked=user)
    return user
