"""The secrets that a first run generates, for deployments that do not set them in the environment."""

import base64
import secrets
from pathlib import Path

from mcphub.stack.files import make_folder, read_record, write_record, write_secret


def ensure_secrets(data_dir: Path) -> None:
    """Write `secret-key` and `seal-keys` (one Fernet key: 32 random bytes in URL-safe base64) unless they exist."""
    make_folder(data_dir)
    generated = {
        "secret-key": secrets.token_urlsafe(48),
        "seal-keys": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    for name, value in generated.items():
        if not (data_dir / name).exists():
            write_secret(data_dir / name, value + "\n")


def helpdesk_access(data_dir: Path) -> tuple[int | None, str]:
    """(the port it had last time or None, its bearer token) of the example service."""
    record = read_record(data_dir / "helpdesk-access.json") or {}
    return record.get("port"), record.get("token") or secrets.token_urlsafe(24)


def remember_helpdesk(data_dir: Path, port: int, token: str) -> None:
    """Keep both for the next run, so that the demo tenant's connection stays right."""
    write_record(data_dir / "helpdesk-access.json", {"port": port, "token": token})
