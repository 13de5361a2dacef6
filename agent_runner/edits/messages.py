"""What the agent reads: what happened, why, and the one thing to do next, each in a bounded text."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent_runner.edits.nearest import Near
from agent_runner.edits.outcome import EditedBlock, EditProblem, FileLine

WIDTH = 160  # characters of a line that are shown
SHOWN = 12  # lines of a file that are shown for one block
_DETAILED = 8  # failing blocks that are shown in full
_NAMED = 40  # blocks that are named at all
_LISTED = 20  # paths in a list

FORM = """\
path/of/the/file.py
```python
<<<<<<< SEARCH
lines copied from the file
=======
the lines to put in their place
>>>>>>> REPLACE
```"""

_NINE = (
    "Where the text itself holds such a line, write all three markers of the block with nine characters: "
    "`<<<<<<<<< SEARCH`, `=========`, `>>>>>>>>> REPLACE`."
)


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


_SHOWN_AS = {ord("·"): " ", ord("→"): " "}


def _visible(line: str) -> str:
    return line.replace(" ", "·").replace("\t", "→")


# ---------------------------------------------------------------- form (malformed)


def unclosed(next_block: int | None) -> str:
    """No REPLACE marker ends the block."""
    if next_block is None:
        return (
            "the reply ends before this block does: there is no `>>>>>>> REPLACE` line after "
            "its SEARCH marker. "
            "Send the whole block, to its last line. If the reply was cut off, send fewer blocks in one reply."
        )
    return (
        f"another SEARCH marker begins (reply line {next_block}) before this block's `>>>>>>> REPLACE` line. "
        f"End each block with that line, alone. {_NINE}"
    )


def wrong_dividers(lines: Sequence[int], head: int, tail: int) -> str:
    """No divider, or several."""
    if not lines:
        return (
            f"there is no `=======` line between its markers (reply lines {head} and {tail}). "
            "Put exactly one, alone on its line, between the text to find and the text to put in its place."
        )
    numbers = " and ".join(map(str, lines))
    return f"reply lines {numbers} can both be its `=======` line, so nothing is certain. {_NINE}"


def stray_marker(line: str) -> str:
    """An end without a beginning."""
    return (
        f"this line ends a block that was never begun: `{cut(line.strip())}`. Begin each block with "
        f"`<<<<<<< SEARCH`, alone on its line. {_NINE}"
    )


def foreign_marker(line: str) -> str:
    """A marker of another form."""
    return (
        f"this line looks like a marker, but is none: `{cut(line.strip())}`. The markers are `<<<<<<< SEARCH`, "
        "`=======` and `>>>>>>> REPLACE`, each alone on its line, 5 to 9 characters long, "
        "all of one block alike."
    )


def cut_off(line: str) -> str:
    """The reply stops where a block was about to begin."""
    return (
        f"the reply ends with `{cut(line.strip())}`, where another block was about to begin. "
        "If it was cut off, send all blocks again, or fewer in one reply."
    )


EMPTY_SEARCH = (
    "SEARCH is empty, but the file is not. To insert text, copy a line next to the place "
    "into SEARCH, and write that "
    "line and the new ones into REPLACE."
)
NOT_LOOKED_FOR = "Mend the blocks above first: no nearest place was looked for here."
NO_SUCH_FILE = "the file does not exist. To create it, leave SEARCH empty."
SURROGATE = "REPLACE holds characters that cannot be written as UTF-8 (lone surrogates). Write them as escapes."
NOT_ASCII = (
    "the file is not UTF-8, so only ASCII text can be put into it safely. "
    "Write other characters as escapes."
)
NO_NAME = (
    "it names no file, and which one is meant is not certain. "
    "Write the file's path alone on the line above the fence."
)


def conflict(in_fence: str, above: str) -> str:
    """The fence and the line above it disagree."""
    return (
        f"its fence names `{cut(in_fence)}`, the line above it `{cut(above)}`. Name the file once."
    )


def placeholder(line: str, reply_line: int) -> str:
    """REPLACE leaves code out."""
    return (
        f"REPLACE holds a placeholder (reply line {reply_line}) instead of code: "
        f"`{cut(line.strip())}`. Everything "
        "between the markers is taken literally: write the code out, or choose a SEARCH of "
        "only the lines that change."
    )


def broken_syntax(error: SyntaxError, new_text: str) -> str:
    """The new file does not parse."""
    lines = new_text.split("\n")
    number = min(max(error.lineno or 1, 1), len(lines))
    first = max(number - 3, 1)
    shown = [
        FileLine(number=n, text=lines[n - 1]) for n in range(first, min(number + 2, len(lines)) + 1)
    ]
    return (
        f"the file parsed before and would not after this reply: {type(error).__name__} at "
        f"line {number} of the "
        f"new file: {cut(error.msg or 'invalid syntax')}\n{_numbered(shown, mark=number)}\n"
        "(numbers and lines are those the file would have)"
    )


# ---------------------------------------------------------------- paths


def forbidden(name: str, reason: str, editable: Collection[str]) -> str:
    """The file may not be edited."""
    return f"`{cut(name)}` cannot be edited: {reason}. {editable_files(editable)}"


def editable_files(editable: Collection[str]) -> str:
    """The list to choose from."""
    if not editable:
        return "No file can be edited here."
    names = sorted(editable)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listing = ", ".join(f"`{cut(name)}`" for name in names[:_LISTED])
    return f"Files that can be edited: {listing}{more}."


# ---------------------------------------------------------------- places


def ambiguous(
    count: str, tier: str, lines: Sequence[int], contexts: Sequence[Sequence[FileLine]]
) -> str:
    """SEARCH stands in several places."""
    how = "" if tier == "exact" else f" (compared without regard to {_disregarded(tier)})"
    numbers = ", ".join(map(str, lines[:8])) + (", …" if len(lines) > 8 else "")
    where = f"at lines {numbers}" if lines else "in text that earlier blocks put in"
    shown = "\n  --\n".join(_numbered(context) for context in contexts[:3])
    return (
        f"SEARCH stands in {count} places{how}: {where}.\n{shown}\n"
        "Add a neighbouring line to SEARCH (and to REPLACE) that only the place you mean has."
    )


def _disregarded(tier: str) -> str:
    return {
        "trailing whitespace": "blanks at line ends",
        "indentation": "indentation",
        "blank lines": "blank lines",
        "line numbers": "the line numbers in SEARCH",
        "section fences": "the fence lines in SEARCH",
        "ellipsis": "the lines left out by `...`",
    }.get(tier, tier)


def no_match(
    search: Sequence[str], lines: Sequence[str], near: Near | None, causes: Sequence[str]
) -> str:
    """SEARCH stands nowhere. `lines` is the file as it is on disk."""
    if near is None:
        nothing = (
            "No part of the file is like it: look at the file as it is now before you send another block.",
        )
        return "\n".join(["SEARCH does not match.", *(causes or nothing)])
    first, last = near.start + 1, near.start + near.count
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    if near.file_line is not None and first != last:
        where += f"; first difference at line {near.file_line + 1}"
    theirs = None if near.file_line is None else lines[near.file_line]
    text = [
        f"SEARCH does not match. Nearest place: {where}:",
        *_side_by_side(theirs, search[near.search_line]),
        "The file has:",
        _numbered(_window(lines, near)),
        *causes,
        "Copy these lines into SEARCH without the numbers.",
    ]
    return "\n".join(text)


def _side_by_side(theirs: str | None, ours: str) -> list[str]:
    if theirs is None:
        return ["  file:   (has no line here)", f"  SEARCH: |{cut(ours)}"]
    if _unspaced(theirs) == _unspaced(ours):  # only white space differs: show it
        theirs, ours = _visible(theirs), _visible(ours)
    differs = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
    start = max((differs or 0) - 40, 0) if max(len(theirs), len(ours)) > WIDTH else 0
    mark = "…" if start else ""
    lines = [f"  file:   |{mark}{cut(theirs[start:])}", f"  SEARCH: |{mark}{cut(ours[start:])}"]
    if differs is not None and not (theirs[differs] + ours[differs]).translate(_SHOWN_AS).isascii():
        lines.append(f"  ({_code(theirs[differs])} in the file, {_code(ours[differs])} in SEARCH)")
    return lines


def _unspaced(line: str) -> str:
    return line.replace(" ", "").replace("\t", "")


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _window(lines: Sequence[str], near: Near) -> list[FileLine]:
    first, count = near.start, min(near.count, SHOWN)
    if near.file_line is not None:
        last_start = near.start + near.count - count
        first = min(max(near.file_line - SHOWN // 2, near.start), last_start)
    return [FileLine(number=row + 1, text=lines[row]) for row in range(first, first + count)]


def nearest_lines(lines: Sequence[str], near: Near | None) -> list[FileLine]:
    """The lines that the message shows, as data."""
    if near is None:
        return []
    shown = _window(lines, near)
    return [FileLine(number=line.number, text=cut(line.text)) for line in shown]


def _numbered(lines: Sequence[FileLine], mark: int | None = None) -> str:
    return "\n".join(
        f"{'>' if line.number == mark else ' '}{line.number:>5} |{cut(line.text)}" for line in lines
    )


def changed_by(block: int) -> str:
    """An earlier block took the text away."""
    return (
        f"Its text was there until block {block} of this reply changed it: write SEARCH as the text is "
        f"after block {block}, or make one block of both."
    )


def needs(block: int) -> str:
    """An earlier block that failed would have put the text in."""
    return (
        f"Its text would be put in by block {block}, which cannot be applied: mend that one first."
    )


def in_other_files(names: Sequence[str]) -> str:
    """The text stands elsewhere."""
    listing = ", ".join(f"`{cut(name)}`" for name in names[:3])
    return f"The text stands in {listing}: name the right file above the block."


def part_of_line(lines: Sequence[int]) -> str:
    """The text is a piece of longer lines."""
    numbers = ", ".join(map(str, lines[:8]))
    return f"It is only part of a longer line (line {numbers}); SEARCH must hold whole lines."


INDENTATION = (
    "Apart from indentation its lines are there, but their indents do not all differ in the "
    "same way, or REPLACE has "
    "an indent that cannot be carried over: copy the file's own indentation."
)
DOTS = (
    "A line `...` skips lines only where the pieces around it stand in the file in that "
    "order, and REPLACE has as many "
    "such lines."
)
ONLY_EXACT = (
    "Which file is meant was only inferred, so nothing but an exact match counts: "
    "name the file above the block."
)


def already(line: int | None) -> str:
    """The edit is there."""
    where = "" if line is None else f", line {line}"
    return (
        f"already applied{where}: the file has REPLACE's text there. Leave this block out. "
        "(If the same lines are "
        "meant a second time, add a neighbouring line to SEARCH that shows where.)"
    )


SAME = "SEARCH and REPLACE are the same, so there is nothing to change. Leave this block out."
NO_EFFECT = "the blocks together leave every file as it is"


# ---------------------------------------------------------------- the whole


def no_edits() -> str:
    """The reply holds no block."""
    return (
        "Nothing was changed: the reply holds no SEARCH/REPLACE block. "
        f"Send each change in this form:\n\n{FORM}"
    )


def refusal(problems: Sequence[EditProblem], blocks: int) -> str:
    """The whole answer to a reply that was refused."""
    failing = len({problem.block for problem in problems if problem.block is not None}) or 1
    again = "Send it again." if blocks == 1 else f"Send all {blocks} blocks again."
    verb = "needs no change" if all(p.kind == "noop" for p in problems) else "cannot be applied"
    if failing > 1:
        verb = verb.replace("needs", "need")
    if verb.startswith("need"):
        again = "Leave out what is already there, and send the rest again."
    text = [
        f"Nothing was changed: {failing} of {blocks} block{'s' if blocks > 1 else ''} {verb} "
        f"(all or none). {again}"
    ]
    for index, problem in enumerate(problems):
        place = f"block {problem.block}" if problem.block is not None else "the reply"
        if problem.path is not None:
            place += f" ({cut(problem.path)})"
        if problem.reply_line is not None and problem.kind == "malformed":
            place += f", reply line {problem.reply_line}"
        body = problem.message if index < _DETAILED else cut(problem.message.split("\n")[0])
        text.append(f"{place}: {body}" if index < _NAMED else "")
    shown = [part for part in text if part]
    if len(problems) > _NAMED:
        shown.append(f"… and {len(problems) - _NAMED} more.")
    if any(problem.kind == "malformed" and problem.path is None for problem in problems):
        shown.append(f"The form of a block:\n\n{FORM}")
    head = "\n\n".join(shown[: _DETAILED + 1])
    rest = "\n".join(shown[_DETAILED + 1 :])
    return f"{head}\n\n{rest}" if rest else head


def success(blocks: Sequence[EditedBlock], files: Collection[str], *, dry_run: bool) -> str:
    """The whole answer to a reply that was applied."""
    count, number = sum(1 for block in blocks if block.tier is not None), len(files)
    done = "Dry run, nothing was written. Would apply" if dry_run else "Applied"
    text = [
        f"{done} {count} block{'s' if count != 1 else ''} to {number} file{'s' if number != 1 else ''}."
    ]
    for block in blocks[:_NAMED]:
        where = "" if block.line is None else f", line {block.line}"
        how = block.note or f"matched: {block.tier}"
        text.append(f"block {block.block}: {cut(block.path)}{where} ({how})")
    return "\n".join(text)
