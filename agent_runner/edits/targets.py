"""Which file each block edits, and whether it may: named, else inferred where that is certain, else refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from agent_runner.edits import messages
from agent_runner.edits.guards import forbidden_path
from agent_runner.edits.names import Heading, match_known, read_heading
from agent_runner.edits.outcome import ProblemKind
from agent_runner.edits.parse import Lines

_SEARCHED = 200  # files that are looked through for a SEARCH without a name


@dataclass(frozen=True)
class Target:
    """The file of a block (`path`), or why there is none (`kind`, `message`, and the name as `shown`).

    `exact_only`: the words above name another, unknown file, so only an exact match shows that this one is
    meant; `message` then says what to answer otherwise.
    """

    path: str | None
    kind: ProblemKind = "path_forbidden"
    message: str = ""
    shown: str | None = None
    exact_only: bool = False


class Targets:
    """Resolves the blocks of one reply in order, since a block without a name continues the one before it."""

    def __init__(
        self,
        names: Collection[str],
        editable: Collection[str],
        holds: Callable[[str, Lines], bool],
    ) -> None:
        self._editable = editable
        self._known = (
            names if editable is names else {**dict.fromkeys(names), **dict.fromkeys(editable)}
        )
        self._holds = holds
        self._previous: Target | None = None

    def target(self, above: Lines, search: Lines) -> Target:
        """The file of the block below this text."""
        heading = read_heading(above, self._known)
        target = self._from(heading, search)
        if target.path is not None or target.kind == "path_forbidden":
            self._previous = Target(target.path, target.kind, target.message, target.shown)
        return target

    def _from(self, heading: Heading, search: Lines) -> Target:
        if heading.conflict is not None and heading.named is not None:
            message = messages.conflict(heading.named, heading.conflict)
            return Target(None, "malformed", message)
        if heading.named is not None:
            return self._allowed(heading.named)
        if len(heading.mentioned) == 1:
            return self._allowed(heading.mentioned[0])
        if not heading.mentioned:
            inferred = self._inferred()
            if inferred is not None:
                return self._checked(inferred, heading.foreign)
        holding = self._holding(heading.mentioned or self._editable, search)
        if holding is not None:
            return self._allowed(holding)
        message = f"{messages.NO_NAME} {messages.editable_files(self._editable)}"
        return Target(None, "malformed", message)

    def _inferred(self) -> Target | None:
        if self._previous is not None:
            return self._previous
        if len(self._editable) == 1:
            return self._allowed(next(iter(self._editable)))
        return None

    def _checked(self, target: Target, foreign: str | None) -> Target:
        if foreign is None or target.path is None:
            return target
        reason = (
            "the text above the block names it, and it is not among the files that can be edited"
        )
        message = messages.forbidden(foreign, reason, self._editable)
        return Target(target.path, message=message, exact_only=True)

    def _holding(self, candidates: Collection[str], search: Lines) -> str | None:
        """The only file that holds SEARCH exactly."""
        if len(candidates) > _SEARCHED or not any(line.strip() for line in search):
            return None
        holding = [path for path in sorted(candidates) if self._holds(path, search)]
        return holding[0] if len(holding) == 1 else None

    def _allowed(self, name: str) -> Target:
        shown = messages.printable(name)
        reason = forbidden_path(name)
        path = None if reason else match_known(name, self._known)
        if reason is None and path is not None:
            reason = forbidden_path(path)
        if reason is None and path is None:
            reason = "there is no such file among those that can be edited"
        if reason is None and path not in self._editable:
            reason = "it is not among the files that can be edited"
        if reason is not None:
            message = messages.forbidden(name, reason, self._editable)
            return Target(None, "path_forbidden", message, shown)
        return Target(path)
