"""What the agent reads when a SEARCH has no place, or several: the evidence, the cause, and what repairs it."""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.edits.display import SHOWN, WIDTH, cut, line_numbers, numbered
from agent_runner.edits.nearest import Difference, Near
from agent_runner.edits.outcome import FileLine

_SHOWN_AS = {ord("·"): " ", ord("→"): " "}


def ambiguous(
    count: str, tier: str, lines: Sequence[int], contexts: Sequence[Sequence[FileLine]]
) -> str:
    """SEARCH stands in several places."""
    how = "" if tier == "exact" else f" (compared without regard to {_disregarded(tier)})"
    where = f"at {line_numbers(lines)}" if lines else "in text that earlier blocks put in"
    return (
        f"SEARCH stands in {count} places{how}: {where}.\n{_places(contexts)}"
        "Add a neighbouring line to SEARCH (and to REPLACE) that only the place you mean has."
    )


def ambiguous_piece(
    piece: int, lines: Sequence[int], contexts: Sequence[Sequence[FileLine]]
) -> str:
    """A piece between `...` lines stands in several places."""
    where = f"at {line_numbers(lines)}" if lines else "in text that earlier blocks put in"
    return (
        f"piece {piece} of SEARCH (its pieces are parted by `...`) fits in several places: {where}.\n"
        f"{_places(contexts)}"
        "Add a line to that piece that only the place you mean has, or write the lines out instead of `...`."
    )


def _places(contexts: Sequence[Sequence[FileLine]]) -> str:
    shown = "\n  --\n".join(numbered(context) for context in contexts[:3])
    return f"{shown}\n" if shown else ""


def _disregarded(tier: str) -> str:
    return {
        "trailing whitespace": "blanks at line ends",
        "indentation": "indentation",
        "blank lines": "blank lines",
        "line numbers": "the line numbers in SEARCH",
        "section fences": "the fence lines in SEARCH",
    }.get(tier, tier)


NO_MATCH = "SEARCH does not match."
NOT_LOOKED_FOR = "Mend the blocks above first: no nearest place was looked for here."


def no_match(
    search: Sequence[str],
    lines: Sequence[str],
    near: Near | None,
    advice: str | None,
    causes: Sequence[str],
) -> str:
    """SEARCH stands nowhere. `lines` is the file as it is on disk."""
    if near is None or advice is None:
        nothing = (
            "No part of the file is like it: look at the file as it is now before you send another block.",
        )
        return "\n".join([NO_MATCH, *(causes or nothing)])
    first, last = near.start + 1, near.start + near.count
    where = f"line {first}" if first == last else f"lines {first}-{last}"
    text = [f"{NO_MATCH} Nearest place: {where}{_first_difference(near)}"]
    if near.differences:
        text += _side_by_side(near.differences[0], search, lines)
        text += _further(near.differences[1:])
    shown = window(lines, near)
    part = (
        ""
        if len(shown) == near.count
        else f" (lines {shown[0].number}-{shown[-1].number} of these)"
    )
    return "\n".join([*text, f"The file has{part}:", numbered(shown), *causes, advice])


def _first_difference(near: Near) -> str:
    if not near.differences:
        return ":"
    first = near.differences[0]
    if first.file_line is None:
        return f"; first difference before line {first.at + 1}, a line that the file does not have:"
    if first.search_line is None:
        return f"; first difference at line {first.at + 1}, which SEARCH does not have:"
    return f"; first difference at line {first.at + 1}:"


def _further(differences: Sequence[Difference]) -> list[str]:
    """Where else the two differ, so that all of it can be mended at once."""
    if not differences:
        return []
    parts = []
    beside = [
        d.at + 1 for d in differences if d.search_line is not None and d.file_line is not None
    ]
    lacking = [d.at + 1 for d in differences if d.search_line is None]
    extra = [
        d.search_line + 1 for d in differences if d.file_line is None and d.search_line is not None
    ]
    if beside:
        parts.append(f"different at {line_numbers(beside)}")
    if lacking:
        parts.append(f"without the file's {line_numbers(lacking)}")
    if extra:
        parts.append(f"with {line_numbers(extra)} of SEARCH that the file does not have")
    return [f"SEARCH is also {'; '.join(parts)}."]


def _side_by_side(difference: Difference, search: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The two lines one above the other, cut so that the first difference is seen."""
    if difference.file_line is None:
        return [
            "  file:   (no such line)",
            f"  SEARCH: |{cut(search[difference.search_line or 0])}",
        ]
    theirs = lines[difference.file_line]
    if difference.search_line is None:
        return [f"  file:   |{cut(theirs)}", "  SEARCH: (no such line)"]
    ours = search[difference.search_line]
    if _unspaced(theirs) == _unspaced(ours):  # only white space differs: show it
        theirs, ours = _visible(theirs), _visible(ours)
    differs = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
    start = max((differs or 0) - 40, 0) if max(len(theirs), len(ours)) > WIDTH else 0
    mark = "…" if start else ""
    text = [f"  file:   |{mark}{cut(theirs[start:])}", f"  SEARCH: |{mark}{cut(ours[start:])}"]
    if differs is not None and not (theirs[differs] + ours[differs]).translate(_SHOWN_AS).isascii():
        text.append(f"  ({_code(theirs[differs])} in the file, {_code(ours[differs])} in SEARCH)")
    return text


COPY = "Copy these lines into SEARCH without the numbers."
NOT_AS_SHOWN = (
    "These lines are not shown in full (… cuts a line, a backslash writes out a character that cannot be "
    "seen): change in SEARCH only what differs."
)
ALSO_CHANGED = (
    "Earlier blocks of this reply change these lines: make one block of them and this one."
)


def copy_with_neighbour(places: Sequence[int]) -> str:
    """The lines that are shown stand elsewhere too."""
    return (
        f"These lines stand in the file more than once ({line_numbers(places)}): copy them into SEARCH without "
        "the numbers, with a neighbouring line that only the place you mean has."
    )


def correct(near: Near) -> str:
    """More lines than are shown."""
    numbers = line_numbers([difference.at + 1 for difference in near.differences])
    return f"Correct what differs in SEARCH ({numbers}) and keep the rest."


def near_changed_by(block: int) -> str:
    """An earlier block changes the place that is shown."""
    return (
        f"But block {block} of this reply changes these lines (they are shown as they are on disk): write "
        f"SEARCH as the text is after block {block}, or make one block of both."
    )


def changed_by(block: int, line: int | None) -> str:
    """An earlier block took the text away."""
    where = "" if line is None else f" (line {line})"
    return (
        f"Its text was there{where} until block {block} of this reply changed it: write SEARCH as the text is "
        f"after block {block}, or make one block of both."
    )


def needs(block: int) -> str:
    """An earlier block that failed would have put the text in."""
    return (
        f"Its text would be put in by block {block}, which cannot be applied: mend that one first."
    )


def in_other_files(places: Sequence[tuple[str, int]]) -> str:
    """The text stands elsewhere."""
    listing = ", ".join(f"`{cut(name)}` (line {line})" for name, line in places[:3])
    return f"The text stands in {listing}: name the right file above the block."


def part_of_line(lines: Sequence[int]) -> str:
    """The text is a piece of longer lines."""
    return (
        f"It is only part of a longer line ({line_numbers(lines)}); SEARCH must hold whole lines."
    )


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
INFERRED = "Which file is meant was only inferred, since the text above the block names another: name it there."


def window(lines: Sequence[str], near: Near) -> list[FileLine]:
    """The lines of the place that are shown: all of them, or those around the first difference."""
    first, count = near.start, min(near.count, SHOWN)
    if near.differences:
        last_start = near.start + near.count - count
        first = min(max(near.differences[0].at - SHOWN // 2, near.start), last_start)
    return [FileLine(number=row + 1, text=lines[row]) for row in range(first, first + count)]


def _unspaced(line: str) -> str:
    return line.replace(" ", "").replace("\t", "")


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _visible(line: str) -> str:
    return line.replace(" ", "·").replace("\t", "→")
