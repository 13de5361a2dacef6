"""Where to look: the deepest frame that the agent can change, found in an exception or a stack dump."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from agent_runner.failures.raised import Chain, Frame, Raised
from agent_runner.failures.text import bounded, clean_output, shorten
from agent_runner.records import Location

_LIBRARY = re.compile(r"(?<![^/])(?:site-packages|dist-packages|lib/python3(?:\.\d{1,2})?)/")
_DUMP_THREAD = re.compile(r"^(?P<current>Current thread|Thread) 0x[0-9a-fA-F]{1,32}")
_DUMP_FRAME = re.compile(r'^ {0,4}File "([^"\n]{1,4000})", line (\d{1,9}) in (.{1,200})$')
_CODE_LIMIT = 300
_DEEP = 90  # frames; faulthandler prints the innermost 100 of a thread


@dataclass(frozen=True)
class Places:
    """Which files are the agent's. `root` is the worktree, `editable` are paths or patterns below it.

    Without a root (a saved log) every file that no library owns counts as below it, and an editable
    file is known by the end of its path.
    """

    root: str = ""
    editable: tuple[str, ...] = ()

    def relative(self, file: str) -> str | None:
        """Return the path of a file of the worktree relative to it, or None for any other file."""
        path = posixpath.normpath(file.replace("\\", "/")) if file else ""
        if not path or path.startswith("<") or _LIBRARY.search(path):
            return None
        if not self.root:
            return posixpath.basename(path)
        if not posixpath.isabs(path) and not re.match(r"^[A-Za-z]:/", path):
            return None if path.startswith("../") else path
        root = posixpath.normpath(self.root.replace("\\", "/"))
        return path[len(root) :].lstrip("/") if path.startswith(root.rstrip("/") + "/") else None

    def is_editable(self, file: str) -> bool:
        """Say whether a frame's file is one that the agent may edit."""
        path = self.relative(file)
        if path is None:
            return False
        names = self.editable if self.root else map(posixpath.basename, self.editable)
        return any(fnmatchcase(path, name) for name in names)

    def fitting(self, frames: Iterable[Frame]) -> Places:
        """Return these places, or, when no frame is below the root, the same without a root.

        A job may see its worktree under another path than the runner does (a link, a mount).
        """
        seen = any(self.relative(frame.file) is not None for frame in frames)
        return self if seen else Places("", self.editable)

    def shown(self, file: str) -> str:
        """Return the path to show: relative to the worktree, or from `site-packages` on."""
        path = self.relative(file)
        if path is not None:
            return path
        starts = [found.start() for found in _LIBRARY.finditer(file.replace("\\", "/"))]
        return file[starts[-1] :] if starts else file


def is_library(file: str) -> bool:
    """Say whether a file belongs to Python or to an installed package."""
    return _LIBRARY.search(file.replace("\\", "/")) is not None


def deepest(frames: Iterable[Frame], places: Places) -> Frame | None:
    """Return the deepest frame in an editable file, else below the root, else of all.

    Frames are outermost first. Frames without a file on disk (`<frozen importlib>`) never count.
    """
    real = [frame for frame in reversed(tuple(frames)) if not frame.file.startswith("<")]
    for counts in (places.is_editable, lambda file: places.relative(file) is not None):
        for frame in real:
            if counts(frame.file):
                return frame
    return real[0] if real else None


def origin(decisive: Raised, chain: Chain) -> Raised:
    """Return where an exception of a chain began.

    That is itself, the same one inside the worker that sent it, or what the interpreter itself turned
    into it (StopIteration in a generator).
    """
    at = chain.index(decisive) if decisive in chain else 0
    inner = [item for item in chain[at + 1 :] if _became(item, decisive) and item.frames]
    return inner[-1] if inner else decisive


def locate(first: Raised, chain: Chain, places: Places) -> Location | None:
    """Return the place to look: in the frames of `first`, else of its causes, else of its nearest effect.

    A place in an editable file anywhere in the chain goes before one below the root, and that before
    all others.
    """
    at = chain.index(first) if first in chain else 0
    candidates = [first, *chain[at + 1 :], *reversed(chain[:at])]
    frames = [found for item in candidates if (found := deepest(item.frames, places))]
    for wanted in (places.is_editable, lambda file: places.relative(file) is not None):
        for frame in frames:
            if wanted(frame.file):
                return to_location(frame, places)
    return to_location(frames[0], places) if frames else None


def to_location(frame: Frame, places: Places) -> Location:
    """Return a frame as a bounded, printable record."""
    return Location(
        file=shorten(clean_output(places.shown(frame.file)), 300),
        line=frame.line,
        code=shorten(clean_output(frame.code), _CODE_LIMIT) if frame.code else None,
        function=shorten(clean_output(frame.function), 200) if frame.function else None,
        locals={
            shorten(clean_output(name), 100): shorten(clean_output(value).replace("\n", " "), 300)
            for name, value in frame.locals
        },
    )


@dataclass(frozen=True)
class StackDump:
    """Where the threads of a process were.

    place: the line to look at, of the thread that crashed; else of the one that runs the agent's file,
        the main one before others.
    innermost: the frame in which that thread stood, where that is another.
    others: the lines of the agent's files that other threads had reached.
    is_recursion: that thread's stack is full of the same few frames.
    frames: that stack, outermost first.
    """

    place: Location | None = None
    innermost: Location | None = None
    others: tuple[Location, ...] = ()
    is_recursion: bool = False
    frames: tuple[Frame, ...] = ()


def read_dump(dump: str, places: Places) -> StackDump:
    """Return what a faulthandler dump (frames innermost first, no code lines) says."""
    stacks = [tuple(reversed(stack)) for stack in _stacks(dump)]
    if not stacks:
        return StackDump()
    places = places.fitting(frame for stack in stacks for frame in stack)
    chosen = _telling(stacks, places)
    frame = deepest(chosen, places)
    reached = (deepest(stack, places) for stack in stacks if stack is not chosen)
    others = dict.fromkeys(at for at in reached if at and places.is_editable(at.file))
    return StackDump(
        to_location(frame, places) if frame else None,
        to_location(chosen[-1], places) if chosen[-1] is not frame else None,
        tuple(to_location(at, places) for at in others),
        len(chosen) >= _DEEP and len(set(chosen)) <= len(chosen) // 4,
        chosen,
    )


def _telling(stacks: list[tuple[Frame, ...]], places: Places) -> tuple[Frame, ...]:
    for wanted in (places.is_editable, lambda file: places.relative(file) is not None):
        for stack in stacks:
            frame = deepest(stack, places)
            if frame is not None and wanted(frame.file):
                return stack
    return stacks[0]


def _stacks(dump: str) -> list[list[Frame]]:
    """Return the stacks of all threads: the current one first, then those that run the program itself."""
    stacks: list[tuple[bool, list[Frame]]] = []
    for line in clean_output(bounded(dump, 100_000, 400_000)).split("\n"):
        thread = _DUMP_THREAD.match(line)
        frame = _DUMP_FRAME.match(line.rstrip())
        if thread:
            stacks.append((thread["current"].startswith("Current"), []))
        elif frame and stacks:
            stacks[-1][1].append(Frame(frame[1], int(frame[2]) or None, frame[3]))
    real = [item for item in stacks if item[1]]
    # The main thread is the one whose outermost frame is a module: faulthandler does not name it.
    real.sort(key=lambda item: (not item[0], item[1][-1].function != "<module>"))
    return [stack for _, stack in real]


def _became(inner: Raised, outer: Raised) -> bool:
    turned = inner.relation == "cause" and outer.message.endswith(f" raised {inner.name}")
    return turned or (inner.name == outer.name and inner.message.strip() == outer.message.strip())
