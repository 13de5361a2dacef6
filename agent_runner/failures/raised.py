"""One exception of a chain, with the frames it passed through, and the reading of the hook's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")

RELATIONS = ("raised", "cause", "context", "suppressed")
MAX_CHAIN = 20
MAX_FRAMES = 200
MAX_LOCALS = 20
MAX_MESSAGE = 1_000_000

HEADER = "Traceback (most recent call last):"
NESTED_HEADER = "Original Traceback (most recent call last):"


@dataclass(frozen=True)
class Frame:
    """One frame of a traceback. `locals` are (name, value in a few words), where the hook saw them."""

    file: str
    line: int | None = None
    function: str | None = None
    code: str | None = None
    locals: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Raised:
    """One exception.

    `relation` says how it stands to the one before it: `raised`, `cause`, `context`, or `suppressed` (a
    context that `from None` hides). `frames` are outermost first. `type` is qualified by its module unless it
    is a builtin.
    """

    type: str
    message: str = ""
    relation: str = "raised"
    frames: tuple[Frame, ...] = ()

    @property
    def name(self) -> str:
        """The type without its module."""
        return self.type.rpartition(".")[2]

    @property
    def is_interrupt(self) -> bool:
        """Whether this is how a program is stopped, not how it fails: the program did not raise it itself."""
        own = bool(self.frames) and (self.frames[-1].code or "").startswith("raise ")
        return self.name in ("KeyboardInterrupt", "SystemExit") and not own

    @property
    def is_syntax_error(self) -> bool:
        """Whether the text of a program could not be read."""
        return self.name in ("SyntaxError", "IndentationError", "TabError")

    @property
    def is_group(self) -> bool:
        """Whether this exception only holds others."""
        return self.name.endswith("ExceptionGroup")


Chain = tuple[Raised, ...]
"""The exception that ended the program, then its causes, outward-in."""


def chain_from_record(record: Mapping[str, Any] | None) -> Chain:
    """Read the chain of an `exception.json`. Parts that do not keep the contract are left out.

    The record is written by the experiment's own process, so nothing in it is taken on trust.
    """
    if not isinstance(record, Mapping):
        return ()
    entries = record.get("chain")
    if not isinstance(entries, list | tuple):
        return ()
    shown = limit_chain([entry for entry in entries if isinstance(entry, Mapping)])
    chain = tuple(_raised(entry) for entry in shown)
    return _with_syntax_location(chain, record.get("syntax_error"))


def _raised(entry: Mapping[str, Any]) -> Raised:
    name = _text(entry.get("type"), 200) or "Exception"
    module = _text(entry.get("module"), 200)
    if module and module not in ("builtins", "__main__") and not name.startswith(module + "."):
        name = f"{module}.{name}"
    relation = entry.get("relation")
    frames = entry.get("frames")
    return Raised(
        type=name,
        message=_text(entry.get("message"), MAX_MESSAGE),
        relation=relation if relation in RELATIONS else "context",
        frames=limit_frames(
            [_frame(frame) for frame in frames if isinstance(frame, Mapping)]
            if isinstance(frames, list | tuple)
            else []
        ),
    )


def _frame(entry: Mapping[str, Any]) -> Frame:
    return Frame(
        file=_text(entry.get("file"), 4000),
        line=_line(entry.get("line")),
        function=_text(entry.get("function"), 200) or None,
        code=_text(entry.get("code"), 500).strip() or None,
        locals=_locals(entry.get("locals")),
    )


def _locals(entry: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(entry, Mapping):
        return ()
    pairs = ((_text(name, 100), _text(value, 300)) for name, value in entry.items())
    return tuple((name, value) for name, value in islice(pairs, MAX_LOCALS) if name and value)


def _with_syntax_location(chain: Chain, where: object) -> Chain:
    """Add the place of a syntax error as the deepest frame: it has no frame of its own."""
    if not chain or not isinstance(where, Mapping) or not _text(where.get("file"), 4000):
        return chain
    place = Frame(
        file=_text(where.get("file"), 4000),
        line=_line(where.get("line")),
        code=_text(where.get("text"), 500).strip() or None,
    )
    at = next((i for i, raised in enumerate(chain) if raised.is_syntax_error), 0)
    located = replace(chain[at], frames=(*chain[at].frames, place))
    return (*chain[:at], located, *chain[at + 1 :])


def limit_chain(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return a chain, or of a very long one its outer and its inner end: the first cause is the innermost."""
    if len(items) <= MAX_CHAIN:
        return tuple(items)
    return (*items[: MAX_CHAIN // 4], *items[-MAX_CHAIN * 3 // 4 :])


def limit_frames(frames: list[Frame]) -> tuple[Frame, ...]:
    """Return the frames, or of a very deep stack (recursion) its outer and its inner end."""
    if len(frames) <= MAX_FRAMES:
        return tuple(frames)
    return (*frames[: MAX_FRAMES // 4], *frames[-MAX_FRAMES * 3 // 4 :])


def _text(value: object, limit: int) -> str:
    """Return a string of at most about `limit` characters, head and tail, or an empty one."""
    if not isinstance(value, str):
        return ""
    if len(value) <= limit:
        return value
    return f"{value[: limit * 3 // 4]} ... {value[-limit // 4 :]}"


def _line(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return value
    return None
