"""How text from a file or a reply is shown to an agent: safe to encode, cut to a bound, with real numbers."""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.edits.outcome import FileLine

WIDTH = 160  # characters of a line that are shown
SHOWN = 12  # lines of a file that are shown for one block


def printable(text: str) -> str:
    """Text that any encoder takes: lone surrogates are written out, control characters are made visible."""
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if safe.isprintable():
        return safe
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in safe)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def cut(line: str) -> str:
    """A line short enough to be shown."""
    shown = printable(line)
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 1]}…"


def numbered(lines: Sequence[FileLine], mark: int | None = None) -> str:
    return "\n".join(
        f"{'>' if line.number == mark else ' '}{line.number:>5} |{cut(line.text)}" for line in lines
    )


def line_numbers(numbers: Sequence[int]) -> str:
    listing = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"line {listing}" if len(numbers) == 1 else f"lines {listing}"
