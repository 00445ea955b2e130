"""The wheel of the recurray that runs here, so that a job runs the same code on the cluster."""

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

from recurray.cluster.errors import ClusterError

NAME = "recurray"
WRITTEN_BY_INSTALLERS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


def build_wheel(into: Path) -> Path:
    """Writes the wheel into the folder `into`, without network, and returns its path.

    From a checkout it is built, from a regular install it is put together again from the files that were installed.
    ClusterError if the checkout is gone or cannot be built.
    """
    installed = distribution(NAME)
    checkout = _checkout(installed)
    return _build(checkout, into) if checkout is not None else _rezip(installed, into)


def _checkout(installed: Distribution) -> Path | None:
    """The folder of an editable install, None for a regular one."""
    text = installed.read_text("direct_url.json")
    source = json.loads(text) if text else {}
    if not source.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(source["url"]).path))


def _build(checkout: Path, into: Path) -> Path:
    if not (checkout / "pyproject.toml").is_file():
        raise ClusterError(
            f"recurray is installed from {checkout}, which has no pyproject.toml now; install it again with pip."
        )
    # The backend itself, not `pip wheel`: that would fetch the backend for an isolated build.
    program = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(into.resolve())]
    built = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if built.returncode:
        reason = built.stderr.strip().splitlines()[-1:] or [f"exit status {built.returncode}"]
        raise ClusterError(f"the wheel of {checkout} could not be built: {reason[0]}.")
    return into / built.stdout.split()[-1]


def _rezip(installed: Distribution, into: Path) -> Path:
    """A wheel of the installed files, with a RECORD of its own."""
    tag = _tag(installed)
    wheel = into / f"{NAME}-{installed.version}-{tag}.whl"
    dist_info = f"{NAME}-{installed.version}.dist-info"
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _shipped_files(installed):
            content = path.read_bytes()
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
            rows.writerow([name, f"sha256={digest}", len(content)])
        rows.writerow([f"{dist_info}/RECORD", "", ""])
        archive.writestr(f"{dist_info}/RECORD", record.getvalue())
    return wheel


def _shipped_files(installed: Distribution) -> list[tuple[str, Path]]:
    """Name in the wheel and place on the disk of each file, without what the installer added."""
    files = installed.files or []
    return sorted(
        (file.as_posix(), Path(str(file.locate())))
        for file in files
        if ".." not in file.parts and "__pycache__" not in file.parts and file.name not in WRITTEN_BY_INSTALLERS
    )


def _tag(installed: Distribution) -> str:
    for line in (installed.read_text("WHEEL") or "").splitlines():
        if line.startswith("Tag: "):
            return line.removeprefix("Tag: ").strip()
    raise ClusterError("the installed recurray has no WHEEL file in its dist-info; install it again with pip.")
