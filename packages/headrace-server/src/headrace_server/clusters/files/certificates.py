"""SSH user certificates: a fresh key for each connection, good for five minutes, for one user, for SFTP alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncssh

from headrace_server.clusters.model import FilesUnavailable
from headrace_server.kernel import checked_user_name

VALID_S = 300
# The login host's clock may be a little behind ours.
BACKDATED_S = 30


@dataclass(frozen=True)
class UserKey:
    """A private key with its certificate, and when the certificate ends."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate
    ends_at: datetime


class CertificateAuthority:
    """The key that login hosts trust (`TrustedUserCAKeys`)."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def sign(self, user: str, now: datetime) -> UserKey:
        """Return a new key with a certificate for `user`. Raise `FilesUnavailable` if the authority cannot sign."""
        # An empty list of principals would be good for every user, so the name is checked right here.
        principal = checked_user_name(user)
        ends_at = now + timedelta(seconds=VALID_S - BACKDATED_S)
        try:
            authority = asyncssh.read_private_key(self._key_file)
        except (OSError, asyncssh.KeyImportError) as error:
            raise FilesUnavailable(f"The SSH authority's key {self._key_file} cannot be read: {error}") from error
        key = asyncssh.generate_private_key("ssh-ed25519")  # pyright: ignore[reportUnknownMemberType]
        certificate = authority.generate_user_certificate(
            key,
            f"headrace:{principal}",
            principals=[principal],
            valid_after=now - timedelta(seconds=BACKDATED_S),
            valid_before=ends_at,
            force_command="internal-sftp",
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=False,
            permit_pty=False,
            permit_user_rc=False,
        )
        return UserKey(key, certificate, ends_at)
