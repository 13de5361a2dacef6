"""What the agent reads: what happened, why, and the one thing to do next, each in a bounded text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from agent_runner.edits.display import cut, numbered
from agent_runner.edits.outcome import EditedBlock, EditProblem, FileLine

_DETAILED = 8  # failing blocks that are shown in full
_NAMED = 40  # blocks that are named at all
_LONGEST = 12_000  # characters of what is shown in full
_LISTED = 20  # paths in a list

_LINE_END = re.compile(r"\r\n|\r|\n")  # what ends a line to Python

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
    lines = _LINE_END.split(new_text)
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    number = min(max(error.lineno or 1, 1), len(lines))
    rows = range(max(number - 3, 1), min(number + 2, len(lines)) + 1)
    shown = [FileLine(number=row, text=lines[row - 1]) for row in rows]
    return (
        f"the file parsed before and would not after this reply: {type(error).__name__} at line {number} of "
        f"the new file: {cut(error.msg or 'invalid syntax')}\n{numbered(shown, mark=number)}\n"
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


def already(line: int | None) -> str:
    """The edit would put text in that is there."""
    return (
        f"already applied{_at(line)}: the file has REPLACE's text there. Leave this block out. "
        "(If the same lines are meant a second time, add a neighbouring line to SEARCH that shows where.)"
    )


def made_before(line: int | None) -> str:
    """SEARCH stands nowhere, and REPLACE does."""
    return (
        f"already applied{_at(line)}: the file has REPLACE's text there, and SEARCH's nowhere. Leave this "
        "block out. (If another place is meant, copy its lines into SEARCH.)"
    )


def _at(line: int | None) -> str:
    return "" if line is None else f", line {line}"


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
    """The whole answer to a reply that was refused. Bounded: what does not fit is named in one line."""
    text = [_headline(problems, blocks)]
    brief: list[str] = []
    room = _LONGEST
    for index, problem in enumerate(problems[:_NAMED]):
        room -= len(problem.message)
        if index < _DETAILED and (room >= 0 or index == 0):
            text.append(f"{_place(problem)}: {problem.message}")
        else:
            brief.append(f"{_place(problem)}: {cut(problem.message.split(chr(10))[0])}")
    if len(problems) > _NAMED:
        brief.append(f"… and {len(problems) - _NAMED} more.")
    if brief:
        text.append("\n".join(brief))
    if any(problem.kind == "malformed" and problem.path is None for problem in problems):
        text.append(f"The form of a block:\n\n{FORM}")
    return "\n\n".join(text)


def _headline(problems: Sequence[EditProblem], blocks: int) -> str:
    """What was done (nothing), to how many blocks that is due, and what to send next."""
    failing = len({problem.block for problem in problems if problem.block is not None}) or 1
    there = sum(problem.kind == "noop" for problem in problems)
    verb = "cannot be applied"
    if blocks == 1:
        again = "Send it again."
    elif there:
        again = "Leave out what needs no change, mend the rest, and send it all again."
    else:
        again = f"Send all {blocks} blocks again."
    if there == len(problems):
        verb = "needs no change" if failing == 1 else "need no change"
        again = "Leave out what needs no change, and send the rest again."
        if failing == blocks:
            again = "There is nothing left to send again."
    return (
        f"Nothing was changed: {failing} of {blocks} block{'s' if blocks > 1 else ''} {verb} "
        f"(all or none). {again}"
    )


def _place(problem: EditProblem) -> str:
    place = f"block {problem.block}" if problem.block is not None else "the reply"
    if problem.path is not None:
        place += f" ({cut(problem.path)})"
    if problem.reply_line is not None and problem.kind == "malformed":
        place += f", reply line {problem.reply_line}"
    return place


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
