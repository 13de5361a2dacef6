"""What the agent reads: what was refused, and just what it takes to mend it. Bounded in size."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from agent_runner.edits.outcome import AppliedBlock, EditProblem
from agent_runner.edits.parse import FORM

MAX_LINE = 160
MAX_SHOWN = 12
MAX_MESSAGE = 12_000
_MAX_CANDIDATES = 400


def cut(text: str) -> str:
    return (
        text
        if len(text) <= MAX_LINE
        else text[:MAX_LINE] + f"... ({len(text) - MAX_LINE} more characters)"
    )


def visible(text: str) -> str:
    """White space made visible, for where it is the only difference."""
    return (
        text.replace(" ", "\u00b7")
        .replace("\t", "\u2192")
        .replace("\r", "\u240d")
        .replace("\u00a0", "\u237d")
    )


def numbered(lines: Sequence[str], start: int, stop: int) -> str:
    return "\n".join(f"{i + 1:5} | {cut(lines[i])}" for i in range(start, min(stop, len(lines))))


def refusal(problems: Sequence[EditProblem], blocks: int) -> str:
    """The whole message of a refused reply."""
    failing = {p.block for p in problems if p.block is not None}
    if blocks and failing:
        count = f"{len(failing)} of {blocks} block{'s' if blocks != 1 else ''} cannot be applied"
        again = f" (all or none). Send all {blocks} blocks again." if blocks > 1 else "."
        head = f"Nothing was changed: {count}{again}"
    else:
        head = "Nothing was changed."
    text = "\n\n".join([head, *(_titled(p) for p in problems)])
    if len(text) > MAX_MESSAGE:
        text = text[:MAX_MESSAGE] + f"\n... ({len(text) - MAX_MESSAGE} characters left out)"
    return text


def success(blocks: Sequence[AppliedBlock], notes: Sequence[str]) -> str:
    lines = [f"Applied {len(blocks)} block{'s' if len(blocks) != 1 else ''}."]
    for block in blocks:
        how = "" if block.tier == "exact" else f" (matched by ignoring: {block.tier})"
        lines.append(f"block {block.block}: {block.path}, line {block.line}{how}")
    return "\n".join([*lines, *notes])


def _titled(problem: EditProblem) -> str:
    if problem.block is None:
        return problem.message
    where = f" ({problem.path})" if problem.path else ""
    return f"block {problem.block}{where}: {problem.message}"


NO_EDITS = (
    "the reply holds no SEARCH/REPLACE block. To change a file, name it and give a block:\n\n"
    + FORM
)


def ambiguous(lines: Sequence[str], starts: Sequence[int], length: int) -> str:
    at = ", ".join(str(s + 1) for s in starts[:8]) + (", ..." if len(starts) > 8 else "")
    shown = "\n\n".join(numbered(lines, max(0, s - 1), s + min(length, 4) + 1) for s in starts[:3])
    return (
        f"SEARCH occurs {len(starts)} times, at lines {at}. Add a neighbouring line, so that it occurs once:\n"
        f"{shown}"
    )


def no_match(
    path: str,
    lines: Sequence[str],
    search: Sequence[str],
    others: Mapping[str, Sequence[str]],
    earlier: Sequence[str],
) -> tuple[str, int | None, tuple[str, ...]]:
    """Why a SEARCH is nowhere, the nearest real line, and the real lines to copy."""
    wanted = [line for line in search if line.strip()]
    if earlier:
        return (
            f"SEARCH no longer matches: {earlier[0]} Blocks are applied in order; write SEARCH as the file is "
            "after the blocks before it.",
            None,
            (),
        )
    for other, texts in others.items():
        if _contains(texts, wanted):
            return (
                f"SEARCH is not in {path}, but it is in {other}: name that file above the block.",
                None,
                (),
            )
    part = _part_of_line(lines, wanted)
    if part is not None:
        return (
            f"SEARCH is only part of line {part + 1}. Whole lines are matched; copy the line:\n"
            f"{numbered(lines, part, part + 1)}",
            part + 1,
            (lines[part],),
        )
    start = nearest(lines, search)
    if start is None:
        return f"SEARCH is not in {path}, and nothing like it is.", None, ()
    return _difference(lines, search, start)


def _difference(
    lines: Sequence[str], search: Sequence[str], start: int
) -> tuple[str, int | None, tuple[str, ...]]:
    stop = min(len(lines), start + len(search))
    first = next(
        (i for i in range(len(search)) if start + i >= len(lines) or lines[start + i] != search[i]),
        0,
    )
    row = start + first
    there = lines[row] if row < len(lines) else "(the file ends here)"
    ours = search[first]
    if there.split() == ours.split():
        there, ours = visible(there), visible(ours)
    low = max(start, row - MAX_SHOWN // 2) if len(search) > MAX_SHOWN else start
    high = min(stop, low + MAX_SHOWN)
    message = (
        f"SEARCH does not match. Nearest place: lines {start + 1}-{stop}; first difference at line {row + 1}:\n"
        f"  file:   |{cut(there)}\n"
        f"  SEARCH: |{cut(ours)}\n"
        f"The file has:\n{numbered(lines, low, high)}\n"
        "Copy these lines into SEARCH without the numbers."
    )
    return message, row + 1, tuple(lines[low:high])


def nearest(lines: Sequence[str], search: Sequence[str]) -> int | None:
    """The line where SEARCH most likely belongs: votes of equal lines, rare ones counting more."""
    counts = Counter(line.strip() for line in lines if line.strip())
    where: dict[str, list[int]] = {}
    wanted = {line.strip() for line in search if line.strip()}
    for index, line in enumerate(lines):
        if line.strip() in wanted and counts[line.strip()] <= 50:
            where.setdefault(line.strip(), []).append(index)
    votes: Counter[int] = Counter()
    for offset, line in enumerate(search):
        for index in where.get(line.strip(), ()):
            votes[max(0, index - offset)] += 1000 // counts[line.strip()]
    if votes:
        best = max(votes.values())
        return min(start for start, votes_for in votes.items() if votes_for == best)
    return _similar_line(lines, search)


def _similar_line(lines: Sequence[str], search: Sequence[str]) -> int | None:
    """For showing only, never for placing: the line most like the first telling line of SEARCH."""
    offset, wanted = max(enumerate(search), key=lambda pair: len(pair[1].strip()), default=(0, ""))
    words = set(_words(wanted))
    if not words:
        return None
    scored = sorted(
        ((len(words & set(_words(line))), -i) for i, line in enumerate(lines) if line.strip()),
        reverse=True,
    )[:_MAX_CANDIDATES]
    best, place = 0.6, None
    for shared, negative in scored[:20]:
        if not shared:
            break
        ratio = difflib.SequenceMatcher(
            None, lines[-negative].strip()[:200], wanted.strip()[:200]
        ).ratio()
        if ratio > best:
            best, place = ratio, -negative
    return None if place is None else max(0, place - offset)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() or c == "_" else " " for c in text[:400]).split()


def _contains(lines: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return False
    text = "\n" + "\n".join(line.strip() for line in lines if line.strip()) + "\n"
    return "\n" + "\n".join(line.strip() for line in wanted) + "\n" in text


def _part_of_line(lines: Sequence[str], wanted: Sequence[str]) -> int | None:
    if len(wanted) != 1 or len(wanted[0].strip()) < 3:
        return None
    hits = [i for i, line in enumerate(lines) if wanted[0].strip() in line]
    return hits[0] if len(hits) == 1 else None
