"""What the text above a block says about the file it is for: the layout of fences, headings and paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent_runner.edits.names import (
    Known,
    Mention,
    announces,
    may_be_attribute,
    mentions,
    name_alone,
    names_in_info,
    spares,
)
from agent_runner.edits.parse import FENCE

_BREAK = re.compile(r"\s*(?:[-=*_~]{3,}|```|</?[A-Za-z][\w-]*>)\s*")  # a rule, an underline, a tag
_BULLET = re.compile(r"\s*[-*+•]\s")
_SECTION = re.compile(r"\s*(#{1,6})\s")
_QUOTE = "```"  # stands for each line of a closed fence
_LOWEST = 7  # a heading without `#` stands below all that have some


@dataclass(frozen=True)
class Heading:
    """The evidence above one block, strongest first.

    `named`: names directly at the block, or its heading. `mention`: the one editable file that the prose right
    above is about; `announced`: it says that an edit follows. `spoken`: every editable file that the text
    names at all. `foreign`: a file that prose names and that cannot be edited.
    """

    named: tuple[str, ...] = ()
    mention: str | None = None
    announced: bool = False
    spoken: frozenset[str] = frozenset()
    foreign: str | None = None


@dataclass(frozen=True)
class _Layout:
    """The text above a block. `lines`: with what closed fences hold left out. `outer`, `inner`: where the
    text above the block's own fence ends, and where the text within it begins; `infos`: its info strings.
    """

    lines: list[str]
    outer: int
    inner: int
    infos: tuple[str, ...]
    quoted: str | None  # the only line of a closed fence that ends right above


@dataclass(frozen=True)
class _Paragraph:
    lines: list[str]
    touches: bool  # no blank line between it and the block's fence
    alone: list[tuple[int, str]]  # the lines that are a name


class HeadingReader:
    """Reads the texts above a reply's blocks in order: a fence may have been opened above an earlier one."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._open: list[str] = []

    def read(self, above: Sequence[str]) -> Heading:
        """The evidence in the text between a block and the one before it."""
        layout = self._layout(above)
        named = [name for info in layout.infos for name in names_in_info(info, self._known)]
        named += self._inside(layout)
        paragraphs = self._paragraphs(layout)
        nearest = next(paragraphs, None)
        if nearest is not None and layout.quoted is None:
            named += self._at_block(nearest)
        elif layout.quoted is not None:
            name = name_alone(layout.quoted, self._known)
            named += [name] if name is not None and self._known.find(name) else []
        headed: list[str] = []
        if not named and nearest is not None:
            headed = self._far_heading(nearest, paragraphs)
            named += headed if len(headed) == 1 else []
        if named:
            return Heading(named=tuple(dict.fromkeys(named)))
        return self._prose(above, layout, nearest, doubtful=len(headed) > 1)

    # ------------------------------------------------------------ fences

    def _layout(self, above: Sequence[str]) -> _Layout:
        own: list[tuple[int, str]] = []  # fences that are opened here and not closed
        closed: list[tuple[int, int]] = []
        for index, line in enumerate(above):
            if line.lstrip(" \t")[:3] not in ("```", "~~~"):
                continue
            match = FENCE.fullmatch(line)
            if match is None:
                continue
            info = match[2].strip()
            if not info and self._open and match[1].startswith(self._open[-1]):
                self._open.pop()
                start = own.pop()[0] if own else 0
                while closed and closed[-1][0] >= start:
                    closed.pop()  # it lies within this one
                closed.append((start, index))
            else:
                self._open.append(match[1])
                own.append((index, info))
        lines = list(above)
        for start, end in closed:
            lines[start : end + 1] = [_QUOTE] * (end + 1 - start)
        for index, _ in own:
            lines[index] = ""
        return self._with_own(above, lines, own, closed)

    @staticmethod
    def _with_own(
        above: Sequence[str],
        lines: list[str],
        own: list[tuple[int, str]],
        closed: list[tuple[int, int]],
    ) -> _Layout:
        if not own:
            return _Layout(lines, len(lines), len(lines), (), None)
        outer = own[-1][0]
        infos: tuple[str, ...] = (own[-1][1],)
        if len(own) > 1 and not any(line.strip() for line in above[own[-2][0] + 1 : outer]):
            outer, infos = own[-2][0], (own[-1][1], own[-2][1])  # a fence within a fence
        quoted = None
        if closed and closed[-1][1] == outer - 1 and closed[-1][1] - closed[-1][0] == 2:
            quoted = above[outer - 2]
        return _Layout(lines, outer, own[-1][0] + 1, infos, quoted)

    # ------------------------------------------------------------ names at the block

    def _inside(self, layout: _Layout) -> list[str]:
        """Names between the fence and the block: the first line or the last."""
        inside = [line for line in layout.lines[layout.inner :] if line.strip()]
        found = [name_alone(line, self._known) for line in (*inside[:1], *inside[1:][-1:])]
        return [name for name in found if name is not None and self._is_file(name)]

    def _at_block(self, paragraph: _Paragraph) -> list[str]:
        """The name that the paragraph right above is or ends in."""
        if not self._one_file(paragraph):
            return []
        index, name = paragraph.alone[-1]
        before, line = paragraph.lines[:index], paragraph.lines[index]
        listed = _BULLET.match(line) is not None and self._known.find(name) is None
        if not before:
            alone = len(paragraph.lines) == 1 and (paragraph.touches or not listed)
            return [name] if alone else []
        if index != len(paragraph.lines) - 1 or not paragraph.touches or listed:
            return []
        prose = "\n".join(before)
        related = any(
            mention.path is not None
            and mention.path == self._known.find(name)
            and not mention.clean
            for mention in mentions(f"{prose}\n{name}", self._known)
        )
        return [] if related or spares(prose) else [name]

    def _one_file(self, paragraph: _Paragraph) -> bool:
        """Whether the lines that are names are all of one file: several are a list."""
        return len({self._file(name) for _, name in paragraph.alone}) == 1

    def _file(self, name: str) -> str:
        return self._known.find(name) or name

    def _far_heading(self, nearest: _Paragraph, further: Iterator[_Paragraph]) -> list[str]:
        """The name that heads the text above, with nothing but prose about it down to the block.

        Behind it the files that the prose is about instead.
        """
        between: list[str] = []
        paragraph: _Paragraph | None = nearest
        while paragraph is not None and not paragraph.alone:
            between += paragraph.lines
            paragraph = next(further, None)
        if paragraph is None or paragraph.alone[0][0] != 0 or not self._one_file(paragraph):
            return []
        line, name = paragraph.lines[0], paragraph.alone[0][1]
        if _BULLET.match(line) and not (paragraph is nearest and self._known.find(name)):
            return []
        if any(_level(other) <= _level(line) for other in between if _SECTION.match(other)):
            return []  # another section has begun
        prose = "\n".join([*paragraph.lines[1:], *between])
        if spares(prose) or self._heads_another(further, name):
            return []
        return [name, *self._others(prose, name)]

    def _others(self, prose: str, name: str) -> list[str]:
        file = self._file(name)
        return [
            mention.name
            for mention in mentions(prose, self._known)
            if mention.clean and mention.path in self._known.editable and mention.path != file
        ]

    def _heads_another(self, further: Iterator[_Paragraph], name: str) -> bool:
        """Whether another file has such a heading above, without a block: then these are descriptions."""
        file = self._file(name)
        return any(
            self._file(other) != file and not _BULLET.match(paragraph.lines[index])
            for paragraph in further
            for index, other in paragraph.alone
        )

    # ------------------------------------------------------------ prose

    def _paragraphs(self, layout: _Layout) -> Iterator[_Paragraph]:
        """The paragraphs above the block's own fence, nearest first."""
        lines: list[str] = []
        end = layout.outer
        heads_quote = quote_below = False
        for index in range(layout.outer - 1, -2, -1):
            line = layout.lines[index] if index >= 0 else ""
            if line.strip() and not (line.lstrip()[0] in "-=*_~<`" and _BREAK.fullmatch(line)):
                if not lines:
                    end, heads_quote, quote_below = index + 1, quote_below, False
                lines.append(line)
                continue
            if lines:
                lines.reverse()
                touches = end == layout.outer
                yield _Paragraph(lines, touches, self._alone(lines, touches, heads_quote))
                lines = []
            quote_below = quote_below or line == _QUOTE

    def _alone(self, lines: list[str], touches: bool, heads_quote: bool) -> list[tuple[int, str]]:
        """The lines that are a name; not the last one above a closed fence, which tells what that holds."""
        names = [name_alone(line, self._known) for line in lines]
        if heads_quote and not _SECTION.match(lines[-1]):
            names.pop()
        return [
            (index, name)
            for index, name in enumerate(names)
            if name is not None and (self._is_file(name) or (touches and index == len(lines) - 1))
        ]

    def _is_file(self, name: str) -> bool:
        return self._known.find(name) is not None or not may_be_attribute(name)

    def _prose(
        self,
        above: Sequence[str],
        layout: _Layout,
        nearest: _Paragraph | None,
        *,
        doubtful: bool,
    ) -> Heading:
        """The evidence where no name stands at the block. `doubtful`: the prose disagrees with its heading."""
        text = "\n".join([*(nearest.lines if nearest else ()), *layout.lines[layout.inner :]])
        found = list(mentions(text, self._known))
        alone = {self._known.find(name) for _, name in (nearest.alone if nearest else ())}
        about = self._editable({mention.path for mention in found} | alone)
        mention = None
        if len(about) == 1 and not (doubtful or spares(text)) and self._all_clean(found):
            (mention,) = about
        found += mentions("\n".join(layout.infos), self._known)
        foreign = [other.name for other in found if other.path not in self._known.editable]
        everywhere = {other.path for other in mentions("\n".join(above), self._known)}
        return Heading(
            mention=mention,
            announced=mention is not None and announces(text),
            spoken=self._editable(everywhere | alone),
            foreign=foreign[-1] if foreign else None,
        )

    def _editable(self, paths: set[str | None]) -> frozenset[str]:
        editable = self._known.editable
        return frozenset(path for path in paths if path is not None and path in editable)

    def _all_clean(self, found: Sequence[Mention]) -> bool:
        return all(mention.clean for mention in found if mention.path in self._known.editable)


def _level(line: str) -> int:
    match = _SECTION.match(line)
    return len(match[1]) if match else _LOWEST
