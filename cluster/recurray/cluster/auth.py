"""Ray's token authentication: making a token, reading it, and the environment that points Ray at it.

The token itself stays in its file and in HTTP headers. Commands, job arguments, runtime environments and logs name the
file, never what is in it.
"""

import os
import secrets
from pathlib import Path

from recurray.cluster.errors import ClusterError


def create_token(path: Path) -> None:
    """Writes a new random token of 256 bits to `path`, which only its owner may read; the file must not exist yet."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))


def read_token(path: Path) -> str:
    """The token in `path`; ClusterError if it is not there or empty."""
    token = path.read_text(encoding="ascii").strip() if path.is_file() else ""
    if not token:
        raise ClusterError(f"{path} holds no token; remove the file, then end and start again what it belongs to.")
    return token


def authorization(token: str) -> dict[str, str]:
    """The HTTP header that carries the token."""
    return {"Authorization": f"Bearer {token}"}


def ray_environment(token_path: Path) -> dict[str, str]:
    """The variables with which every Ray process, command and driver uses the token in `token_path`."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_path)}
