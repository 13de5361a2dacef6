"""Which file each block edits, and whether it may: named, else inferred where that is certain, else refused.

The evidence, strongest first: a name at the block or heading it; prose about one editable file; the file of the
block before; the only editable file; the only one that holds SEARCH exactly. Where two disagree, only the last
one counts; but prose that announces an edit outdoes the block before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from agent_runner.edits import messages
from agent_runner.edits.display import printable
from agent_runner.edits.guards import forbidden_path
from agent_runner.edits.heading import Heading, HeadingReader
from agent_runner.edits.names import Known
from agent_runner.edits.outcome import ProblemKind
from agent_runner.edits.parse import Lines

_SEARCHED = 200  # files that are looked through for a SEARCH without a name


@dataclass(frozen=True)
class Target:
    """The file of a block (`path`), or why there is none (`kind`, `message`, and the name as `shown`).

    `doubtful`: the words above name another, unknown file, so that only a match which cannot be chance shows
    that this one is meant; `message` then says what to answer otherwise.
    """

    path: str | None
    kind: ProblemKind = "path_forbidden"
    message: str = ""
    shown: str | None = None
    doubtful: bool = False


class Targets:
    """Resolves the blocks of one reply in order, since a block without a name continues the one before it."""

    def __init__(
        self,
        names: Collection[str],
        editable: Collection[str],
        holds: Callable[[str, Lines], bool],
    ) -> None:
        self._editable = editable
        self._known = Known(names, editable)
        self._reader = HeadingReader(self._known)
        self._holds = holds
        self._previous: Target | None = None

    def target(self, above: Lines, search: Lines) -> Target:
        """The file of the block below this text."""
        heading = self._reader.read(above)
        target = self._named(heading) if heading.named else self._inferred(heading, search)
        if target.path is not None or target.kind == "path_forbidden":
            self._previous = replace(target, doubtful=False) if target.doubtful else target
        return target

    # ------------------------------------------------------------ named

    def _named(self, heading: Heading) -> Target:
        targets = {self._known.find(name) or name: name for name in reversed(heading.named)}
        if len(targets) > 1:
            *_, above, in_fence = targets.values()
            return Target(None, "malformed", messages.conflict(in_fence, above))
        return self._allowed(heading.named[0])

    def _allowed(self, name: str) -> Target:
        path = self._known.find(name)
        reason = forbidden_path(name)
        if reason is None and path is not None and path != name:
            reason = forbidden_path(path)
        if reason is None and path is None:
            reason = "there is no such file among those that can be edited"
        if reason is None and path not in self._editable:
            reason = "it is not among the files that can be edited"
        if reason is not None:
            message = messages.forbidden(name, reason, self._editable)
            return Target(None, "path_forbidden", message, printable(name))
        if len(self._known.candidates(name)) > 1:
            return self._doubtful(Target(path), name, "other files have this name too")
        return Target(path)

    # ------------------------------------------------------------ inferred

    def _inferred(self, heading: Heading, search: Lines) -> Target:
        claimed = self._claimed(heading)
        if claimed is not None:
            return claimed
        holding = self._only_holder(search)
        if holding is not None:
            return self._allowed(holding)
        message = f"{messages.NO_NAME} {messages.editable_files(self._editable)}"
        return Target(None, "malformed", message)

    def _claimed(self, heading: Heading) -> Target | None:
        """The file that the evidence speaks for, as long as none of it speaks against it."""
        before = self._previous
        if heading.mention is not None:
            disagrees = before is not None and before.path not in (None, heading.mention)
            if disagrees and not heading.announced:
                return None
            return self._allowed(heading.mention)
        if before is not None:
            target = before
        elif len(self._editable) == 1:
            target = self._allowed(next(iter(self._editable)))
        else:
            return None
        if target.path is None:
            return target
        if heading.spoken - {target.path}:
            return None
        if heading.foreign is None:
            return target
        reason = (
            "the text above the block names it, and it is not among the files that can be edited"
        )
        return self._doubtful(target, heading.foreign, reason)

    def _doubtful(self, target: Target, name: str, reason: str) -> Target:
        message = messages.forbidden(name, reason, self._editable)
        return replace(target, message=message, doubtful=True)

    def _only_holder(self, search: Lines) -> str | None:
        """The only editable file that holds SEARCH exactly."""
        if len(self._editable) > _SEARCHED or not any(line.strip() for line in search):
            return None
        holding = [path for path in sorted(self._editable) if self._holds(path, search)]
        return holding[0] if len(holding) == 1 else None
