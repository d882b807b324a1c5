"""Parts of Markdown pages that commands write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.files import write_whole

__all__ = ["Page", "begin_numbers", "made_by", "table"]


class Page:
    """A page with a part that a command writes anew, between two comments.

    Args:
        path: the page.
        part: name of the part; ``<!-- measured speed: begin -->`` and ``... end -->`` enclose it.

    Raises:
        ParameterError: the page cannot be read, or has no such part.
    """

    def __init__(self, path: Path, part: str) -> None:
        self.path = path
        self.begin, self.end = (f"<!-- measured {part}: {edge} -->" for edge in ("begin", "end"))
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ParameterError(f"page: {path} cannot be read: {error.strerror}") from None
        if self.end not in self.text.partition(self.begin)[2]:
            raise ParameterError(f"page: {path} has no lines {self.begin} and {self.end}")

    def write(self, part: str) -> None:
        """Replace the part."""
        before, _, rest = self.text.partition(self.begin)
        after = rest.partition(self.end)[2]
        write_whole(self.path, f"{before}{self.begin}\n{part}\n{self.end}{after}")


def begin_numbers(out: str, renew: bool, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a command that measures problems will fill: ``meta`` and ``problems``.

    Args:
        out: where it writes.
        renew: whether the numbers there are kept and only some measured anew; ``before`` then
            holds how they were made.
        meta: provenance of the new ones.

    Raises:
        ParameterError: there are no numbers to be kept.
    """
    if not renew:
        return {"meta": meta, "problems": {}}
    try:
        found: dict[str, Any] = json.loads(Path(out).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError(f"out: {out} has no numbers to be kept: {error}") from None
    return {**found, "meta": meta, "before": [*found.get("before", []), found["meta"]]}


def made_by(found: Mapping[str, Any]) -> str:
    """Return the commands behind numbers, with their days."""
    runs = [found["meta"], *reversed(found.get("before", []))]
    return "; the others by ".join(f"`{run['command']}` ({run['date'][:10]})" for run in runs)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
