import subprocess
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import pytest

from headrace_server.clusters import FilesUnavailable
from headrace_server.clusters.files.certificates import CertificateAuthority
from headrace_server.kernel import UserNameInvalid


@pytest.fixture
def authority_key(tmp_path: Path) -> Path:
    path = tmp_path / "user_ca"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)  # pyright: ignore[reportUnknownMemberType]
    return path


def test_a_certificate_is_for_one_user_for_five_minutes_and_for_files_only(authority_key: Path, tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    signed = CertificateAuthority(authority_key).sign("ada", now)
    signed.certificate.write_certificate(tmp_path / "ada-cert.pub")
    # OpenSSH's own reading of it counts.
    argv = ["ssh-keygen", "-L", "-f", str(tmp_path / "ada-cert.pub")]
    text = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin"}
    ).stdout
    assert "user certificate" in text
    assert "Valid: from 2026-11-21T08:59:30 to 2026-11-21T09:04:30" in text
    lines = [line.strip() for line in text.splitlines()]
    assert lines[lines.index("Principals:") + 1 : lines.index("Critical Options:")] == ["ada"]
    assert "force-command internal-sftp" in lines
    assert lines[-1] == "Extensions: (none)"


def test_each_certificate_has_a_key_of_its_own(authority_key: Path) -> None:
    authority, now = CertificateAuthority(authority_key), datetime.now(UTC)
    assert authority.sign("ada", now).key.public_data != authority.sign("ada", now).key.public_data


@pytest.mark.parametrize(
    "name",
    ["", "root", "Root", "slurm", "a b", "ada\n", "ada,root", "*", "-ada", "../ada", "ada\0", "a" * 33, "ädä", "1ada"],
)
def test_nothing_is_signed_for_what_is_no_ordinary_user(authority_key: Path, name: str) -> None:
    with pytest.raises(UserNameInvalid):
        CertificateAuthority(authority_key).sign(name, datetime.now(UTC))


def test_a_missing_authority_is_said(tmp_path: Path) -> None:
    with pytest.raises(FilesUnavailable, match="cannot be read"):
        CertificateAuthority(tmp_path / "none").sign("ada", datetime.now(UTC))
