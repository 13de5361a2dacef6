"""Lines of REPLACE that stand for code which they leave out: `# ... rest of the code unchanged ...`, `...`.

Such a line is written into the file as it is, and the code it stands for is lost without a sound. So a wording
that can mean little else is refused wherever it stands. A wording that people put over code too (`# remaining
layers`) is refused only where lines of SEARCH are gone and no new ones follow under it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

from agent_runner.edits.fragment import PythonFragment, depth, is_code, next_code
from agent_runner.edits.remarks import HINT, LEADS, MARK, Grade, Remark

_PYTHON = (".py", ".pyi")
_PROSE = (".md", ".markdown", ".txt", ".rst")
_DOTS_ARE_TEXT = (*_PROSE, ".yaml", ".yml")  # in YAML, `...` ends a document
_LONGEST = 200  # characters; what is longer says something, and the patterns below stay cheap


def placeholder(
    path: str, replace: Sequence[str], search: Sequence[str], original: str
) -> int | None:
    """The index of the first REPLACE line that stands for code which is not there; None where there is none.

    A line that SEARCH has too is real text, and so is one of the file's, unless it is nothing but dots.
    """
    block: _Block | None = None
    for index, line in enumerate(replace):
        text = line.strip()
        if text[:1] not in LEADS and "#" not in text and "//" not in text and text[-3:] != "...":
            continue
        if not HINT.search(text):
            continue
        if block is None:
            block = _Block(path.lower(), replace, search, original)
        if block.is_placeholder(index):
            return index
    return None


_BEHIND = re.compile(r"\s(?:#|//|/\*)")
_ELLIPSES = ("...", "…", "⋯", "..")
_ABOUT_DOTS = ".…⋯()[]{}<>,; \t"
_FULL_LINE = 60  # characters: a sentence may go on in the next line after one of at least so many


class _Block:
    """A SEARCH and a REPLACE; looked at closely only where a line is in doubt."""

    def __init__(
        self, path: str, replace: Sequence[str], search: Sequence[str], original: str
    ) -> None:
        self._prose = path.endswith(_PROSE)
        self._dots_are_text = path.endswith(_DOTS_ARE_TEXT)
        self._replace = replace
        self._search = search
        self._original = original
        self._old = {line.strip() for line in search}
        is_python = path.endswith(_PYTHON)
        self._python = PythonFragment(replace, search, original) if is_python else None

    def is_placeholder(self, index: int) -> bool:
        """Whether the line stands for code that is left out."""
        text = self._replace[index].strip()
        if text in self._old:
            return False
        if self._python is not None:
            return self._in_python(self._python, index, text)
        if text[0] in LEADS:
            return self._alone(index, text)
        behind = None if self._prose else _BEHIND.search(text)
        return behind is not None and self._behind(
            index, text[: behind.start()], text[behind.start() :].strip()
        )

    def _in_python(self, python: PythonFragment, index: int, text: str) -> bool:
        if not any(dots in text for dots in _ELLIPSES) and not _says_something(text):
            return False  # whatever it is: to tell that, the whole file would have to be read
        if python.in_string(index):
            # Text, unless text of SEARCH is gone for it.
            sure = len(text) <= _LONGEST and Remark(text).wording is Grade.ALWAYS
            return sure and self._stands_for_lines(index)
        code, remark = python.split(index)
        if not code:
            return self._alone(index, text)
        is_dots = any(dots in code for dots in _ELLIPSES) and not code.strip(_ABOUT_DOTS)
        if is_dots and not python.is_ellipsis(index, code):
            return True
        if code.endswith("...") and python.hides_body(index):
            return True
        if remark:
            return self._behind(index, code, remark)
        return not is_dots and text[0] in LEADS and self._alone(index, text)

    # ------------------------------------------------------------ comments

    def _alone(self, index: int, text: str) -> bool:
        """Whether a line of nothing but a comment is a placeholder, with or without the sign of one."""
        if len(text) > _LONGEST:
            return False
        comment = Remark(text)
        if comment.grade is None:
            return False
        if comment.only_dots and comment.marked:
            return not self._is_drawn(index, text)
        if comment.only_dots:
            return not self._dots_are_text and not text.strip(_ABOUT_DOTS)
        if not comment.marked and not comment.is_remark(text, prose=self._prose):
            return False
        if self._in_file(text) or self._goes_on(index, comment):
            return False
        if comment.grade is Grade.HEADING:
            return not self._prose and self._stands_for_lines(index)
        # In prose, `#` begins a heading.
        return not self._prose or comment.grade is Grade.ALWAYS or comment.leads or text[0] != "#"

    def _behind(self, index: int, code: str, remark: str) -> bool:
        """Whether the comment behind code is a placeholder."""
        if len(remark) > _LONGEST:
            return False
        comment = Remark(remark)
        if comment.grade is None or self._in_file(self._replace[index].strip()):
            return False
        code = code.rstrip()
        if code in ("pass", "...") or code.endswith((": pass", ": ...")):
            return comment.grade is not Grade.HEADING or self._stands_for_lines(index)
        return comment.grade is Grade.ALWAYS and self._lines_are_gone(index)

    def _in_file(self, text: str) -> bool:
        return text in self._original and text in self._lines_of_file

    @cached_property
    def _lines_of_file(self) -> set[str]:
        return {line.strip() for line in self._original.split("\n")}

    def _is_drawn(self, index: int, text: str) -> bool:
        """Whether dots are set in from a comment's sign, beside another comment: a part of an example in it."""
        beside = (*self._replace[max(index - 1, 0) : index], *self._replace[index + 1 : index + 2])
        return text[1:4].isspace() and any(text[0] == line.strip()[:1] for line in beside)

    def _goes_on(self, index: int, comment: Remark) -> bool:
        """Whether it is the end of a sentence that the comment line above begins."""
        above = self._replace[index - 1].strip() if index else ""
        text = self._replace[index].strip()
        if comment.trails or MARK.match(above) is None or text[:1] != above[:1]:
            return False
        if comment.leads:
            return comment.wording is None and (above[-1] in ".…" or len(above) >= _FULL_LINE)
        body = text.lstrip("#/*-%; ")
        return len(above) >= _FULL_LINE and above[-1] not in ".:!?…" and body[:1].islower()

    # ------------------------------------------------------------ what became of SEARCH's lines

    def _stands_for_lines(self, index: int) -> bool:
        """Whether lines of SEARCH are gone here, and no new ones stand under this one in their place."""
        return self._lines_are_gone(index) and not self._heads_new_code(index)

    def _heads_new_code(self, index: int) -> bool:
        row = self._rows_of_next_code[index]
        if row is None:
            return False
        line = self._replace[row]
        return line.strip() not in self._old and depth(line) >= depth(self._replace[index])

    def _lines_are_gone(self, index: int) -> bool:
        """Whether SEARCH has more code than REPLACE between the nearest lines around it that both have."""
        old_above, new_above = self._passed[index]
        old_below, new_below = self._passed_upwards[len(self._replace) - 1 - index]
        return len(self._old_code) - old_above - old_below > new_above + new_below

    @cached_property
    def _rows_of_next_code(self) -> list[int | None]:
        return next_code(self._replace)

    @cached_property
    def _old_code(self) -> list[str]:
        return [line.strip() for line in self._search if is_code(line)]

    @cached_property
    def _passed(self) -> list[tuple[int, int]]:
        return _passed(self._old_code, self._replace)

    @cached_property
    def _passed_upwards(self) -> list[tuple[int, int]]:
        return _passed(self._old_code[::-1], self._replace[::-1])


def _says_something(text: str) -> bool:
    """Whether a line, or what may be the comment in it, can stand for code."""
    if len(text) > 2 * _LONGEST:
        return True
    mark = text.find("#")
    comments = (text, text[mark:]) if mark > 0 else (text,)
    return any(Remark(comment).grade is not None for comment in comments)


def _passed(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Before each new line: how many old ones are passed, and how many lines of new code have come since."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(old):
        places[line].append(place)
    counts: list[tuple[int, int]] = []
    passed = fresh = 0
    for line in new:
        counts.append((passed, fresh))
        if not is_code(line):
            continue
        found = places.get(line.strip(), [])
        at = bisect_left(found, passed)
        passed, fresh = (found[at] + 1, 0) if at < len(found) else (passed, fresh + 1)
    return counts
