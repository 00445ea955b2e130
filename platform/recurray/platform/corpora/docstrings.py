"""The corpus `docstrings`: the body of a docstring as document, its first line as summary."""

import ast
import inspect
import sysconfig
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from recurray.platform.corpora.made import Corpus, Row
from recurray.platform.errors import UserError

MIN_BODY_WORDS, MIN_SUMMARY_WORDS, MAX_SUMMARY_WORDS = 20, 4, 40

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def make_docstrings(packages: Path | None = None) -> Corpus:
    """The docstrings of the Python packages in a folder, by default those installed beside recurray.

    The packages are parsed, never imported. UserError where the folder holds none.
    """
    folder = packages or Path(sysconfig.get_path("purelib"))
    files = sorted(folder.glob("**/*.py"))
    if not files:
        raise UserError(f"{folder} holds no Python packages to take docstrings from.")
    dropped: Counter[str] = Counter()
    return Corpus(
        name="docstrings",
        source=f"docstrings of {len({file.relative_to(folder).parts[0] for file in files})} installed Python packages",
        licence="of each package, see its metadata",
        languages=None,
        rows=_documents(folder, files, dropped),
        dropped=dropped,
    )


def _documents(folder: Path, files: list[Path], dropped: Counter[str]) -> Iterator[Row]:
    seen: set[str] = set()
    for file in files:
        module = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for name, docstring in _docstrings(file, dropped):
            summary, _, body = docstring.partition("\n")
            summary, body = summary.strip(), body.strip()
            if reason := _fault(summary, body):
                dropped[reason] += 1
            elif body in seen:
                dropped["duplicate body"] += 1
            else:
                seen.add(body)
                yield Row(body, summary, f"{module}:{name}" if name else module)


def _docstrings(file: Path, dropped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Qualified name and text of each docstring in a file; the module's own has no name."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of the parsed code, such as invalid escapes
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        dropped["file that does not parse"] += 1
        return
    waiting: deque[tuple[str, ast.AST]] = deque([("", tree)])
    while waiting:
        scope, node = waiting.popleft()
        if isinstance(node, _DOCUMENTED):
            scope = ".".join(filter(None, (scope, getattr(node, "name", ""))))
            if text := ast.get_docstring(node):
                yield scope, inspect.cleandoc(text)  # again: a body may be indented below a summary on its own line
        waiting.extend((scope, child) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


def _fault(summary: str, body: str) -> str | None:
    if not body:
        return "no body"
    if len(body.split()) < MIN_BODY_WORDS:
        return f"body under {MIN_BODY_WORDS} words"
    if not MIN_SUMMARY_WORDS <= len(summary.split()) <= MAX_SUMMARY_WORDS:
        return f"summary not of {MIN_SUMMARY_WORDS} to {MAX_SUMMARY_WORDS} words"
    try:
        (summary + body).encode()
    except UnicodeEncodeError:
        return "lone surrogates"
    return "body repeats the summary" if body.startswith(summary) else None
