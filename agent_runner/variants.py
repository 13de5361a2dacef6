"""Reading a variant: a research idea as data, with the replies of an agent that carry out its plan.

A variant is a folder with `idea.toml` (title, hypothesis, method, plan) and `proposals/1.md`, `2.md`, ...:
whole replies, each against the files as the ones before it leave them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent_runner.errors import UsageError
from agent_runner.records import Record

IDEA_FILE = "idea.toml"
_REMEDY = "A variant is a folder with idea.toml and proposals/1.md; variants/README.md says what is in them."


class Variant(Record):
    """An idea and the replies that carry it out.

    plan: one line per run, in order; there may be fewer proposals than lines.
    models: which of the template's language models it may use; none named: all of them.
    """

    name: str
    title: str
    hypothesis: str = ""
    method: str = ""
    plan: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Hypothesis, method and plan, as an agent is told them."""
        runs = "\n".join(f"{number}. {line}" for number, line in enumerate(self.plan, start=1))
        parts = (
            f"Hypothesis. {self.hypothesis.strip()}" if self.hypothesis.strip() else "",
            f"Method. {self.method.strip()}" if self.method.strip() else "",
            f"Planned runs:\n\n{runs}" if runs else "",
        )
        return "\n\n".join(part for part in parts if part)

    def purpose(self, number: int) -> str:
        """What the plan says of a proposal, counted from 1; empty where it says nothing."""
        return self.plan[number - 1] if 0 < number <= len(self.plan) else ""


def shipped_folder() -> Path:
    """The variants that come with this package (in a checkout, or inside the installed wheel)."""
    packaged = Path(__file__).parent / "_data" / "variants"
    checkout = Path(__file__).parent.parent / "variants"
    return checkout if any(checkout.glob(f"*/{IDEA_FILE}")) else packaged


def find_variant(name: str, shipped: Path | None = None) -> Path:
    """The folder of a variant, by its path or by the bare name of a shipped one.

    Raises:
        UsageError: there is none; the message names those that are shipped.
    """
    shipped = shipped or shipped_folder()
    bare = name == Path(name).name and name not in ("", ".", "..")
    for folder in (Path(name), shipped / name) if bare else (Path(name),):
        if (folder / IDEA_FILE).is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in shipped.glob(f"*/{IDEA_FILE}")))
    raise UsageError(
        f"{name!r} is no variant: there is no {Path(name) / IDEA_FILE}",
        f"Give a folder, or one of: {known or 'none is shipped here'}.",
    )


def load_variant(folder: Path) -> Variant:
    """Read a variant's folder.

    Raises:
        UsageError: a file that is missing or cannot be understood; the message names it.
    """
    fields = _read_idea(folder / IDEA_FILE)
    try:
        idea = {**fields, "name": folder.resolve().name, "proposals": _read_proposals(folder)}
        return Variant.model_validate(idea)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise UsageError(f"{folder / IDEA_FILE} is not valid: {problems}", _REMEDY) from error


def _read_idea(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", _REMEDY) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}", "Correct the file.") from error


def _read_proposals(folder: Path) -> tuple[str, ...]:
    """The replies in the order of their numbers, which run from 1 without a gap."""
    files = {path.stem: path for path in (folder / "proposals").glob("*.md")}
    wanted = [str(number) for number in range(1, len(files) + 1)]
    if not files or set(files) != set(wanted):
        found = ", ".join(sorted(path.name for path in files.values())) or "none"
        raise UsageError(
            f"the proposals of {folder} are not numbered 1.md, 2.md, ... without a gap: {found}",
            _REMEDY,
        )
    try:
        return tuple(files[number].read_text(encoding="utf-8") for number in wanted)
    except UnicodeDecodeError as error:
        raise UsageError(f"a proposal of {folder} is not UTF-8: {error}", _REMEDY) from error
