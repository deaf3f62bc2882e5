"""Names that nobody can guess: run ids, operation keys, secrets and how they are kept."""

import hashlib
import secrets

# Crockford's base 32, lower case: no i, l, o, u, so an id read out over the phone survives.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
ID_LENGTH = 10


def new_id() -> str:
    """Return a new random id: ten characters, 50 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))


def operation_key(run_id: str, attempt: int = 1) -> str:
    """Return the key that makes one submission exactly once; it travels in the Slurm job itself."""
    return f"headrace-{run_id}-{attempt}"


def new_secret(prefix: str) -> str:
    """Return a bearer secret of 256 bits, recognisable by `prefix` (so that scanners find leaked ones)."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """Return what is stored of a secret. Plain SHA-256 suffices: the secrets are random, not chosen by people."""
    return hashlib.sha256(secret.encode()).hexdigest()
