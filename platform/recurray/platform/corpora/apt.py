"""apt-get with sources, lists and downloads in a folder of their own: the system's are read, never written."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from recurray.platform.errors import UserError

ETC = Path("/etc/apt")
"""Where the system's apt sources lie."""

# What the system runs after an update is cleared: it writes to the system's folders.
_CONFIG = """\
#clear APT::Update;
#clear Acquire::Languages;
Acquire::Languages {{ {languages} }};
Acquire::IndexTargets::deb::Packages::DefaultEnabled "{packages}";
Dir::State "{folder}/state";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/sources.list.d";
APT::Sandbox::User "root";
"""
_APT_HELPER = "/usr/lib/apt/apt-helper"

_FIELD = re.compile(r"^([^\s:]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)
_COMPONENTS = re.compile(r"^(?:Components:|deb\s)[^#\n]*", re.MULTILINE | re.IGNORECASE)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields of each stanza of a control file; what goes on over several lines keeps its line breaks."""
    for stanza in text.split("\n\n"):
        if fields := dict(_FIELD.findall(stanza)):
            yield fields


def with_component(sources: str, component: str) -> str:
    """The text of an apt source file, one-line or deb822, where each archive that has components has this one too."""

    def add(match: re.Match[str]) -> str:
        words = match[0].split()
        has_components = not words[-1].endswith("/")
        return f"{match[0].rstrip()} {component} " if has_components and component not in words else match[0]

    return _COMPONENTS.sub(add, sources)


class PrivateApt:
    """The archives of the system's apt sources, with lists and downloads in a folder of their own.

    With `languages`, descriptions of packages in them can be read; without, packages can be downloaded. A `component`
    such as non-free is asked for beside those of the sources. UserError where apt-get or dpkg is missing or fails.
    """

    def __init__(
        self, folder: Path, *, languages: Sequence[str] = (), component: str | None = None, etc: Path = ETC
    ) -> None:
        self._folder, self._etc = folder, etc
        for part in ("state/lists/partial", "cache/archives/partial", "sources.list.d"):
            (folder / part).mkdir(parents=True)
        listed = " ".join(f'"{language}";' for language in languages or ["none"])
        config = _CONFIG.format(folder=folder, languages=listed, packages="false" if languages else "true")
        (folder / "apt.conf").write_text(config, encoding="utf-8")
        self._copy_sources(component)
        update = self._run("apt-get", "update")
        complaints = re.findall(r"^(?:E:|W: Failed to fetch) +(.+)", update.stderr, re.MULTILINE)
        self._complaint = complaints[0] if complaints else "apt-get update had no complaint"
        if complaints:  # one archive may fail where the others hold what is wanted
            print(f"apt-get update: {self._complaint}", flush=True)

    def _copy_sources(self, component: str | None) -> None:
        for file in (self._etc / "sources.list", *self._etc.glob("sources.list.d/*")):
            if file.suffix in (".list", ".sources") and os.access(file, os.R_OK):
                text = file.read_text(encoding="utf-8", errors="surrogateescape")
                text = with_component(text, component) if component else text
                copy = self._folder / file.relative_to(self._etc)
                copy.write_text(text, encoding="utf-8", errors="surrogateescape")

    def languages(self) -> set[str]:
        """The languages that the archives have descriptions of packages in."""
        releases = self._folder.glob("state/lists/*Release")
        return {code for file in releases for code in re.findall(r"i18n/Translation-([\w@]+)", file.read_text("utf-8"))}

    def translations(self) -> list[dict[str, str]]:
        """What is known of each file of descriptions that was fetched, such as its Language, Release and Filename."""
        return list(stanzas(self._checked("apt-get", "indextargets", "Created-By: Translations")))

    def read(self, file: str) -> str:
        """The text of a list, however it is compressed."""
        return self._checked(_APT_HELPER, "cat-file", file)

    def download(self, prefix: str) -> list[Path]:
        """The packages whose names start so, as files."""
        names = self._checked("apt-cache", "pkgnames", prefix).split()
        if not names:
            raise self.missing(f"packages {prefix}*")
        self._checked("apt-get", "download", *names)
        return sorted(self._folder.glob(f"{prefix}*.deb"))

    def missing(self, what: str) -> UserError:
        """That something was not found in the archives."""
        return UserError(
            f"the apt sources in {self._etc} gave no {what} ({self._complaint}); check them and the network, then run "
            "the command again."
        )

    def unpack(self, package: Path, folder: Path) -> None:
        """Unpacks a package's files; nothing is installed."""
        self._checked("dpkg", "-x", str(package), str(folder))

    def _checked(self, *command: str) -> str:
        result = self._run(*command)
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"`{' '.join(command[:2])}` failed ({reason}); mend that, then run the command again.")
        return result.stdout

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        name = Path(command[0]).name
        if shutil.which(command[0]) is None:
            raise UserError(
                f"{name} was not found; the corpora ddtp and rfc come from Debian packages, so make them on Debian or "
                "Ubuntu and copy the folder."
            )
        config = () if name == "dpkg" else ("-c", str(self._folder / "apt.conf"))
        return subprocess.run(
            [command[0], *config, *command[1:]],
            cwd=self._folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
