"""Parts of Markdown pages that commands write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.files import write_whole

__all__ = ["Page", "table"]


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


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
