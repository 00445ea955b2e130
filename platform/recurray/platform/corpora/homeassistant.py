"""The corpus `homeassistant`: interface strings of Home Assistant in English and another of its languages."""

import difflib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from recurray.platform.corpora.made import Corpus, Row
from recurray.platform.errors import UserError

VERSION = "2025.4.4"
PACKAGE = f"homeassistant=={VERSION}"
DOWNLOAD = ["download", "--no-deps", "--python-version", "3.13", "--only-binary=:all:", PACKAGE]

_TRANSLATION = re.compile(r"homeassistant/components/([^/]+)/translations/([^/.]+)\.json$")


def make_homeassistant(pair: str | None, wheel: Path | None) -> Corpus:
    """Strings with the same key in two languages, of two words or more, each pair once.

    The package is downloaded by pip unless `wheel` names its file. UserError where it cannot be had, or where it has
    no such language.
    """
    if pair is None or "-" not in pair:
        raise UserError("--pair: expected two language codes such as en-de.")
    if wheel is not None:
        texts = _read_wheel(wheel)
    else:
        with tempfile.TemporaryDirectory() as folder:
            texts = _read_wheel(_download(Path(folder)))
    src_lang, tgt_lang = _languages(pair, texts)
    dropped: Counter[str] = Counter()
    return Corpus(
        name="homeassistant",
        source=f"the Python package {PACKAGE}, components/*/translations",
        licence="Apache-2.0",
        languages=(src_lang, tgt_lang),
        rows=_pairs(texts[src_lang], texts[tgt_lang], dropped),
        dropped=dropped,
    )


def _languages(pair: str, known: Collection[str]) -> tuple[str, str]:
    """The two languages of a pair such as zh-Hans-en: a code may hold a dash of its own."""
    parts = pair.split("-")
    cuts = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(1, len(parts))]
    src_lang, tgt_lang = max(cuts, key=lambda cut: (cut[0] in known) + (cut[1] in known))
    for language in (src_lang, tgt_lang):
        if language not in known:
            near = difflib.get_close_matches(language, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}."
            raise UserError(f"--pair {pair}: the corpus homeassistant has no language {language}; {hint}")
    if src_lang == tgt_lang:
        raise UserError(f"--pair {pair}: expected two different languages, such as en-de.")
    return src_lang, tgt_lang


def _download(folder: Path) -> Path:
    print(f"downloading {PACKAGE} (43 MB)", flush=True)
    command = [sys.executable, "-m", "pip", "--quiet", *DOWNLOAD, "--dest", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = list(folder.glob("*.whl"))
    if not found:
        reason = (result.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(
            f"{PACKAGE} could not be downloaded ({reason}); where there is a network run `pip {' '.join(DOWNLOAD)}` "
            "and give the file with --wheel."
        )
    return found[0]


def _read_wheel(wheel: Path) -> dict[str, dict[str, str]]:
    """The texts of each language by key."""
    texts: dict[str, dict[str, str]] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if match := _TRANSLATION.match(name):
                    component, language = match.groups()
                    texts.setdefault(language, {}).update(_flat(json.loads(archive.read(name)), component))
    except (OSError, zipfile.BadZipFile) as fault:
        raise UserError(f"{wheel} is not a wheel of {PACKAGE} ({fault}).") from None
    if not texts:
        raise UserError(f"{wheel} holds no translations; expected a wheel of {PACKAGE}.")
    return texts


def _flat(tree: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.{key}")
        elif isinstance(value, str):
            yield f"{path}.{key}", value


def _pairs(src_texts: dict[str, str], tgt_texts: dict[str, str], dropped: Counter[str]) -> Iterator[Row]:
    seen: set[tuple[str, str]] = set()
    for key in sorted(src_texts):
        if key not in tgt_texts:
            dropped["not translated"] += 1
            continue
        src, tgt = (" ".join(text.split()) for text in (src_texts[key], tgt_texts[key]))
        if reason := _fault(src, tgt):
            dropped[reason] += 1
        elif (src, tgt) in seen:
            dropped["duplicate pair"] += 1
        else:
            seen.add((src, tgt))
            yield Row(src, tgt, key)


def _fault(src: str, tgt: str) -> str | None:
    if not src or not tgt:
        return "empty side"
    if len(src.split()) < 2:
        return "source of one word"
    return "target equals source" if src == tgt else None
