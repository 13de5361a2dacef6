"""Whether an edit leaves a Python file that parsed with a syntax error, at the cost of what the edit touched.

A line that begins with a keyword which no expression can hold (`def`, `class`) begins a statement, if it does
not stand in a triple-quoted string or continue the line before. What lies between two such lines is a piece
that can be compiled by itself. So where every piece that was touched still compiles, the whole file parses if
it did before; only where one does not is the whole file compiled, old and new.

Two kinds of piece are tried: between definitions of one depth (methods, say), if all that is touched lies as
deep; and between definitions at column 0. A file in which a statement reaches further (`global` binds all of
the module, `nonlocal` the function around) is compiled whole, or in pieces of the second kind.
"""

from __future__ import annotations
import __future__

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent_runner.edits.draft import Change, Draft

_DEFINITION = re.compile(r"([ \t]*)(?:def|class|async def) ")
_INDENT = re.compile(r"^[ \t]*(?=[^ \t\r\n])", re.MULTILINE)
_SIGN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|["\'#]')
_FORMATTED = re.compile(r"(?<!\w)[rR]?[fFtT][rR]?(?=[\"']|$)")
_WORD = re.compile(r" *([A-Za-z_]\w*)(?![\w\"'])")
_AFTER_STRING = frozenset(["if", "else", "and", "or", "in", "is", "not", "for", "async", "as"])
_TRIED = 100  # delimiters that are looked at from below
_WARNINGS = threading.Lock()  # catch_warnings() changes the whole process's filters


def broken_syntax(path: str, draft: Draft, *, created: bool) -> SyntaxError | None:
    """The error that a Python file has now and had not before; None for other files and for sound ones."""
    if not path.lower().endswith((".py", ".pyi")):
        return None
    if not created and _pieces_compile(draft):
        return None
    error = _syntax_error(path, draft.text)
    if error is None or (not created and _syntax_error(path, draft.original) is not None):
        return None
    return error


def _syntax_error(path: str, text: str, flags: int = 0) -> SyntaxError | None:
    # compile(), not ast.parse(): `return` outside a function and the like are found only there.
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, path, "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return SyntaxError(str(error) or type(error).__name__)
    return None


# ---------------------------------------------------------------- pieces


@dataclass
class _Piece:
    """original[start:end] and what changes in it: from one definition to the next that is not deeper."""

    start: int
    indent: str
    end: int = 0
    following: str | None = (
        None  # the indent of the definition at its end; None: the end of the file
    )
    changes: list[Change] = field(default_factory=list)

    def program(self, old: str) -> str:
        """The piece's new text as a program of its own, with a definition behind it where there is one."""
        texts = ["if 1:\n"] if self.indent else []
        position = self.start
        for change in self.changes:
            texts += [old[position : change.low], change.new]
            position = change.high
        texts.append(old[position : self.end])
        if self.following is not None:
            texts.append(f"{self.following}def _(): pass\n")
        return "".join(texts)


def _pieces_compile(draft: Draft) -> bool:
    """Whether each touched piece compiles by itself, and is sure to be one. False: it cannot be told."""
    old, changes = draft.original, draft.changes()
    if any("__future__" in text for c in changes for text in (c.new, old[c.low : c.high])):
        return False  # such an import changes what the rest means
    if "global " in old or any("global " in change.new for change in changes):
        return False
    if "\r" in old and re.search(r"\r(?!\n)", old):
        return False  # to Python, a carriage return alone ends a line too
    flags = __future__.annotations.compiler_flag if "__future__" in old else 0  # the stricter way
    for deep in (True, False) if _scopes_are_local(old, changes) else (False,):
        pieces = _pieces(old, changes, deep=deep)
        if pieces and _outside_strings(old, {edge for p in pieces for edge in (p.start, p.end)}):
            errors = (_syntax_error("", piece.program(old), flags) for piece in pieces)
            if all(error is None for error in errors):
                return True
    return False


def _scopes_are_local(old: str, changes: Sequence[Change]) -> bool:
    """Whether no statement binds a function around, or is allowed in some scopes only."""
    if "nonlocal " in old:
        return False
    return not any(word in c.new for c in changes for word in ("nonlocal ", "import *"))


def _pieces(old: str, changes: Sequence[Change], *, deep: bool) -> list[_Piece]:
    """The pieces that hold these changes; none where they would not be apart or not be of one depth."""
    pieces: list[_Piece] = []
    for change in changes:
        depth = _least_indent(old, change) if deep else ""
        if not pieces or change.low > pieces[-1].end:
            start, indent = _definition_above(old, change.low, depth)
            if pieces and start < pieces[-1].end:
                return []
            pieces.append(_Piece(start, indent))
        piece = pieces[-1]
        piece.changes.append(change)
        if change.high > piece.end or len(piece.changes) == 1:
            piece.end, piece.following = _definition_from(old, change.high, piece.indent)
        if not depth.startswith(piece.indent) or piece.following not in (None, "", piece.indent):
            return []
    return pieces


def _least_indent(old: str, change: Change) -> str:
    """What the indents of all touched lines begin with."""
    indents = _INDENT.findall(old[change.low : change.high]) + _INDENT.findall(change.new)
    first, last = min(indents, default=""), max(indents, default="")
    return first[
        : next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]


def _definition_above(text: str, position: int, indent: str) -> tuple[int, str]:
    """(start, indent) of the last definition above a line that is no deeper; (0, "") without one."""
    while position > 0:
        position = text.rfind("\n", 0, position - 1) + 1
        found = _definition_at(text, position, indent)
        if found is not None:
            return position, found
    return 0, ""


def _definition_from(text: str, position: int, indent: str) -> tuple[int, str | None]:
    """(start, indent) of the first definition at a line or below that is no deeper; else the end."""
    while position < len(text):
        found = _definition_at(text, position, indent)
        if found is not None:
            return position, found
        position = text.find("\n", position) + 1 or len(text)
    return len(text), None


def _definition_at(text: str, position: int, indent: str) -> str | None:
    match = _DEFINITION.match(text, position)
    if match is None or not indent.startswith(match[1]) or _continued(text, position):
        return None
    return match[1]


def _continued(text: str, position: int) -> bool:
    """Whether the line above ends with a backslash."""
    return text.endswith(("\\\n", "\\\r\n", "\\\r"), 0, position)


# ---------------------------------------------------------------- strings of several lines


def _outside_strings(text: str, positions: set[int]) -> bool:
    """Whether none of these starts of lines lies in a triple-quoted string, of a text that parses."""
    wanted = sorted(position for position in positions if 0 < position < len(text))
    if not wanted:
        return True
    for start, end in _long_strings(text, _sure_start(text, wanted[0], wanted[-1]), wanted[-1]):
        if end is None or any(start < position < end for position in wanted):
            return False
    return True


def _sure_start(text: str, position: int, limit: int) -> int:
    """A place outside strings above `position`, from which to look for them: the nearest one, else the start.

    A delimiter that a word follows, with nothing before it in its line, begins a string: after the end of a
    string, a word could only be one of _AFTER_STRING. But it may be text of a string of the other kind.
    """
    if text.find("'''", 0, limit) != -1:
        return 0
    for _ in range(_TRIED):
        position = text.rfind('"""', 0, position)
        if position == -1:
            break
        line = text.rfind("\n", 0, position) + 1
        word = _WORD.match(text, position + 3)
        alone = not text[line:position].strip(" \t") and not _continued(text, line)
        if word and word[1] not in _AFTER_STRING and alone:
            return line
    return 0


def _long_strings(text: str, position: int, limit: int) -> Iterator[tuple[int, int | None]]:
    """Where the triple-quoted strings between two places begin and end; an end of None: from here on unknown.

    What stands before a delimiter in its line is all that can make it something else: a comment, or a part of
    a short string.
    """
    while True:
        start = _earliest(text, position, limit)
        if start is None:
            return
        line = text.rfind("\n", position, start) + 1 or position
        before = text[line:start]
        sign = _open_sign(before)
        if sign == "#":
            position = text.find("\n", start)
            if position == -1:
                return
            continue
        end = _closing(text, start)
        if sign or end is None or _continued(text, line) or _FORMATTED.search(before):
            yield start, None
            return
        yield start, end
        position = end


def _earliest(text: str, position: int, limit: int) -> int | None:
    double = text.find('"""', position, limit)
    single = text.find("'''", position, limit if double == -1 else double)
    found = double if single == -1 else single
    return None if found == -1 else found


def _open_sign(before: str) -> str:
    """`#` when these words leave a comment open, a quote when they leave a string open, else nothing."""
    if before.isspace() or not before:
        return ""
    return next((m[0] for m in _SIGN.finditer(before) if len(m[0]) == 1), "")


def _closing(text: str, start: int) -> int | None:
    """The end of the triple-quoted string that begins there; None where it has none."""
    delimiter = text[start : start + 3]
    end = text.find(delimiter, start + 3)
    while end != -1:
        slashes = 0
        while text[end - 1 - slashes] == "\\":
            slashes += 1
        if slashes % 2 == 0:
            return end + 3
        end = text.find(delimiter, end + 1)
    return None
