"""What becomes of a reply's edits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation, field_serializer

ProblemKind = Literal["no_match", "ambiguous", "malformed", "path_forbidden", "no_edits", "noop"]


def printable(text: str) -> str:
    """The same text without lone surrogates, which no encoder takes (a reply may hold any)."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _printable_or_none(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


Shown = Annotated[str, BeforeValidator(_printable_or_none)]


class EditProblem(BaseModel):
    """Why one block was refused. `line` and `nearest` are the evidence: real lines of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ProblemKind
    message: Shown
    block: int | None = None
    path: Shown | None = None
    line: int | None = None
    lines: tuple[int, ...] = ()
    nearest: tuple[Shown, ...] = ()


class AppliedBlock(BaseModel):
    """Where a block was applied, and how exactly its SEARCH had to be read (`tier`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block: int
    path: Shown
    tier: str
    line: int


class EditOutcome(BaseModel):
    """All blocks of a reply were applied, or none was.

    `files` holds the new texts of changed files; empty where nothing was applied. `kind` is that of the
    first problem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    applied: bool
    kind: ProblemKind | None = None
    problems: tuple[EditProblem, ...] = ()
    message: Shown
    files: dict[str, SkipValidation[str]] = Field(default_factory=dict)
    diff: Shown = ""
    blocks: tuple[AppliedBlock, ...] = ()

    @field_serializer("files")
    def _printable_files(self, files: dict[str, str]) -> dict[str, str]:
        return {printable(name): printable(text) for name, text in files.items()}
