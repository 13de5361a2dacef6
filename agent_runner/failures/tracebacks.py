"""Python tracebacks read back from program output, where the exception hook left no record.

Understands chained tracebacks, the syntax-error form (a place without a header), exception groups,
tracebacks embedded in a message (data-loader workers, process pools), tracebacks whose head was cut
off, and a header printed behind an unfinished progress bar. One pass over the lines.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from agent_runner.failures.boxed import unboxed
from agent_runner.failures.raised import (
    HEADER,
    MAX_FRAMES,
    NESTED_HEADER,
    Chain,
    Frame,
    Raised,
    limit_chain,
    limit_frames,
)
from agent_runner.failures.text import clean_output, is_bar

_FRAME = re.compile(r'^ {0,2}File "([^"\n]{1,4000})", line (\d{1,9})(?:, in (.{0,200}))?$')
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]{0,200})(?::(?: (.*))?)?$", re.DOTALL)
_LIKE_ERROR = re.compile(r"^(?:[a-z_]\w{0,60}\.){0,8}[A-Z]\w{0,200}(?::|$)")
_MARKER = re.compile(r"^[\s~^]*$")
_GROUP_HEADER = "Exception Group " + HEADER
_GROUP_MARGIN = re.compile(r"^\s{0,200}(?:\+-)?[|+] ?")
_GROUP_RULE = re.compile(r"^\s{0,200}(?:\+-)?\+-{4,}(?P<member> (?:\d+|\.\.\.) -{4,})?$")
_LINKS = {
    "The above exception was the direct cause of the following exception:": "cause",
    "During handling of the above exception, another exception occurred:": "context",
}
# What ends the message of an exception: the next thing that another part of the program prints.
_NOT_MESSAGE = re.compile(
    r"^(?:Exception ignored |Exception in thread |Process \S{1,60}:$|\d{4}-\d\d-\d\d[ T]"
    r"|\[?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|\[rank\d|wandb: )"
)
_SIDES = ("Exception in thread ", "Process ")
_SIDE_NAME = re.compile(r"^(?:Exception in )?(thread|Process) (.{1,100}?)(?: \(.{1,100}\))?:$")
_CHILD_FAILED = "CalledProcessError"
_MAX_BLOCKS = 2000
_MAX_INTERLEAVED = 5


@dataclass
class _Block:
    """One traceback while it is read."""

    link: str = ""  # how the block before this one stands to it
    nested: bool = False  # a part of the exception before it: worker's original, member of a group
    ignored: bool = False  # printed by the interpreter about something it went on from
    side: str = ""  # the line that says of which thread or child process
    type: str = ""
    message: list[str] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    headless: bool = False  # no header seen: a syntax error, or a log with its head cut off
    interleaved: int = 0

    def raised(self) -> Raised:
        """Return what was read as one exception."""
        text = "\n".join(self.message).strip("\n").rstrip()
        return Raised(self.type, text, "raised", limit_frames(self.frames))


@dataclass
class Event:
    """A chain of exceptions as it was printed, and the circumstances."""

    chain: list[Raised]
    ignored: bool = False
    side: str = ""

    @property
    def beside(self) -> str:
        """The thread or child process that it ended, in words; empty for the program's main thread."""
        found = _SIDE_NAME.match(self.side)
        return f"{found[1].lower()} {found[2]}" if found else ""


def ending_chain(text: str) -> Chain:
    """Return the chain of exceptions that most likely ended the program whose cleaned output this is.

    The last one of the main thread; one of a thread, a child process or an interrupt only where there
    is no other. Empty when there is no traceback.
    """
    found = printed_events(text)
    failures = [item for item in found if not item.chain[0].is_interrupt]
    main = [item for item in failures if not item.side]
    for candidates in (main, failures, found):
        if candidates:
            chain = candidates[-1].chain
            child = _of_child(chain[-1], found) if chain[-1].name == _CHILD_FAILED else ()
            return limit_chain((*chain, *child))
    return ()


def printed_events(text: str) -> list[Event]:
    """Return all exceptions that cleaned output shows, in their order, without those that were ignored."""
    text = unboxed(text)
    if 'File "' not in text:
        return []
    return [item for item in _link(_Reader().read(text)) if not item.ignored]


def without_ignored(text: str) -> str:
    """Return cleaned output without the exceptions that the interpreter printed and went on from."""
    kept: list[str] = []
    ignoring = False
    for line in text.split("\n"):
        if line.startswith("Exception ignored "):
            ignoring = True
        elif ignoring and not line.startswith((" ", HEADER)):
            ignoring = line in _LINKS or not line  # the line that names the exception is the last
        elif not ignoring:
            kept.append(line)
    return "\n".join(kept)


def expand(chain: Chain, stderr: str) -> Chain:
    """Add to a recorded chain what its record cannot hold.

    That is embedded tracebacks, members of a group, and what a program that it started had printed.
    """
    expanded: list[Raised] = []
    for raised in chain:
        expanded.extend(_embedded(raised))
    if expanded and expanded[0].is_group and len(expanded) == 1:
        printed = ending_chain(stderr)
        if printed and printed[0].name == expanded[0].name:
            expanded.extend(printed[1:])
    if expanded and expanded[-1].name == _CHILD_FAILED:
        expanded.extend(_of_child(expanded[-1], printed_events(stderr)))
    return limit_chain(expanded)


def _of_child(failed: Raised, found: list[Event]) -> Chain:
    """Return what a child process printed before its parent raised CalledProcessError over it.

    That is the traceback before the parent's, where it runs through a file that the command names.
    """
    ours = [i for i, item in enumerate(found) if item.chain[0].name == _CHILD_FAILED]
    child = found[ours[-1] - 1].chain if ours and ours[-1] > 0 else []
    frames = child[0].frames if child else ()
    names = {posixpath.basename(frame.file) for frame in frames} - {""}
    if not any(name in failed.message for name in names):
        return ()
    return (replace(child[0], relation="cause"), *child[1:])


def _embedded(raised: Raised) -> list[Raised]:
    """Split a message that carries the traceback of a worker into the wrapper and its cause."""
    at = raised.message.find(HEADER)
    inner = ending_chain(clean_output(raised.message[at:])) if at >= 0 else ()
    if not inner:
        return [raised]
    causes = [replace(inner[0], relation="cause"), *inner[1:]]
    if raised.name in ("RemoteTraceback", "_RemoteTraceback"):
        return causes
    head = raised.message[:at].removesuffix("Original ").rstrip()
    return [replace(raised, message=head), *causes]


class _Reader:
    """Line by line: idle, inside the frames of a block, or inside the message that ends it."""

    def __init__(self) -> None:
        self.blocks: list[_Block] = []
        self.open: _Block | None = None
        self.link = ""
        self.member_next = False
        self.in_group = False
        self.before = ""

    def read(self, text: str) -> list[_Block]:
        """Return the blocks in the order they were printed (a cause before its effect)."""
        for raw in text.split("\n"):
            if len(self.blocks) > _MAX_BLOCKS:
                del self.blocks[: _MAX_BLOCKS // 2]  # the end decides
            line = self._without_margin(raw.rstrip())
            if line is not None:
                self._take(line)
                if line:
                    self.before = line
        return [block for block in self.blocks if block.type]

    def _without_margin(self, line: str) -> str | None:
        """Return a line of an exception group without the drawing at its left; None for a rule."""
        if line.endswith(_GROUP_HEADER):
            self.in_group = True
            return _GROUP_HEADER
        if not self.in_group:
            return line
        rule = _GROUP_RULE.match(line)
        if rule:
            self.open = None
            self.member_next = rule["member"] is not None
            return None
        without = _GROUP_MARGIN.sub("", line, count=1)
        if without == line and line and not line[0].isspace():
            self.in_group = False
        return without

    def _take(self, line: str) -> None:
        block, frame = self.open, _FRAME.match(line)
        if line.endswith(HEADER):
            self._start(nested=line.endswith(NESTED_HEADER) or self.member_next)
        elif line in _LINKS:
            self.link = _LINKS[line] if self.blocks and self.blocks[-1].type else ""
            self.open = None
        elif block is None and self.member_next and _EXCEPTION.match(line):
            _finish(self._start(nested=True), line)  # a member that was never raised: no traceback
        elif frame is not None:
            if block is None or block.type:
                block = self._start()
                block.headless = True
            _add_frame(block, frame)
        elif block is not None and block.type:
            self._message(block, line)
        elif block is not None:
            self._inside(block, line)

    def _start(self, nested: bool = False) -> _Block:
        self.open = _Block(
            link=self.link,
            nested=nested,
            ignored=self.before.startswith("Exception ignored "),
            side=self.before if self.before.startswith(_SIDES) else "",
        )
        self.blocks.append(self.open)
        self.link = ""
        self.member_next = False
        return self.open

    def _inside(self, block: _Block, line: str) -> None:
        """Take a line between the header of a block and its exception: code, a marker, or noise."""
        if line.startswith(" "):
            _add_code(block, line)
        elif _EXCEPTION.match(line) and (not block.headless or _LIKE_ERROR.match(line)):
            _finish(block, line)
        elif line:
            block.interleaved += 1
            if block.interleaved > _MAX_INTERLEAVED:
                self.blocks.pop()  # the open block is always the last
                self.open = None

    def _message(self, block: _Block, line: str) -> None:
        if line == '"""' or is_bar(line) or _NOT_MESSAGE.match(line):
            self.open = None
        else:
            block.message.append(line)


def _finish(block: _Block, line: str) -> None:
    """Take the line that names the exception and begins its message."""
    found = _EXCEPTION.match(line)
    if found is not None:
        block.type = found[1]
        block.message.append(found[2] or "")


def _add_frame(block: _Block, found: re.Match[str]) -> None:
    block.frames.append(Frame(found[1], int(found[2]) or None, found[3]))
    if len(block.frames) > 2 * MAX_FRAMES:
        block.frames[:] = limit_frames(block.frames)


def _add_code(block: _Block, line: str) -> None:
    frames = block.frames
    if frames and frames[-1].code is None and not _MARKER.match(line):
        frames[-1] = replace(frames[-1], code=line.strip()[:500])


def _link(blocks: Iterable[_Block]) -> list[Event]:
    """Join blocks that belong to one event into chains, outermost effect first."""
    found: list[Event] = []
    for block in blocks:
        raised = block.raised()
        if block.nested and found:
            found[-1].chain.append(replace(raised, relation="cause"))
        elif block.link and found:
            last = found[-1]
            last.chain[0] = replace(last.chain[0], relation=block.link)
            last.chain.insert(0, raised)
            last.ignored, last.side = block.ignored or last.ignored, block.side or last.side
        else:
            found.append(Event([raised], block.ignored, block.side))
    return found
