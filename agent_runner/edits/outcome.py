"""What becomes of a reply's edits: the records that callers read and that travel as JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, SkipValidation

ProblemKind = Literal["no_match", "ambiguous", "malformed", "path_forbidden", "no_edits", "noop"]

Tier = Literal[
    "exact",
    "trailing whitespace",
    "indentation",
    "blank lines",
    "line numbers",
    "section fences",
    "ellipsis",
    "new file",
]


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# A caller's text may hold lone surrogates (undecodable bytes): pydantic's check would raise on them, and JSON
# cannot carry them.
AnyText = Annotated[
    str, SkipValidation, PlainSerializer(_escape_surrogates, return_type=str, when_used="json")
]


class FileLine(BaseModel):
    """One line of a file, as it stands there, without its line ending; at most 1,000 characters of it.

    `number` counts from 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    text: AnyText


class EditProblem(BaseModel):
    """Why one block was refused.

    `block` counts the blocks of the reply from 1 (None: the reply as a whole). `line` and `lines` are lines of
    the file as it is before the reply (for text that the reply would put in: where), `reply_line` is a line
    of the reply. `nearest` is the part of the file to look at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ProblemKind
    message: str
    block: int | None = None
    path: str | None = None
    line: int | None = None
    lines: list[int] = Field(default_factory=list)
    nearest: list[FileLine] = Field(default_factory=list)
    reply_line: int | None = None


class EditedBlock(BaseModel):
    """Where one block went. `line` is its first line in the file as it was before the reply.

    `tier` is None for a block that needed no work; `note` then says why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    block: int
    path: str
    tier: Tier | None
    line: int | None = None
    note: str = ""


class EditOutcome(BaseModel):
    """A reply applied as a whole (`applied`), or not at all (`problems` says why).

    `message` is written for the agent. `files` holds the new text of each file that changed; it is empty when
    nothing was applied. `diff` is the same as a unified diff. With `dry_run`, `applied` means: would be
    applied.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    applied: bool
    kind: ProblemKind | None = None
    problems: list[EditProblem] = Field(default_factory=list)
    message: str
    files: dict[str, AnyText] = Field(default_factory=dict)
    diff: AnyText = ""
    blocks: list[EditedBlock] = Field(default_factory=list)
    dry_run: bool = False
