"""The catalogue of real failures: small faulty programs, and what each left behind when it was run.

    tests/fixtures/failures/<case>/
        case.toml       what the diagnosis must say: see `Case`
        experiment.py   the program; `# <- here` marks the line that must be named (here, or in another file)
        *.py, ...       files beside it, which count as locked; `shared` ones stand in failures_shared/
        record/         what the run left: exit.json, stdout.log, stderr.log, exception.json, ...

`record_catalogue.py` makes the records. Paths in them are those of an imaginary machine (`ROOT`).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_runner.failures import Evidence
from agent_runner.paths import JobPaths, read_text
from agent_runner.records import JobExit, Limits, Problem
from agent_runner.service.evidence import gather

CATALOGUE = Path(__file__).resolve().parents[1] / "fixtures" / "failures"
SHARED = CATALOGUE.with_name("failures_shared")
ROOT = "/runs/worktrees/idea"
EDITABLE = ("experiment.py",)
HERE = "# <- here"
RECORD = "record"
MADE = "made.json"


@dataclass(frozen=True)
class Case:
    """One faulty program and what its diagnosis must say.

    kind: the kind of the failure; `log_kind`: what the saved log alone can show of it, where that is less.
    charged: whether a run that ends so uses budget.
    needs: packages of the program, beyond the standard library.
    phase: the phase the diagnosis must name (not judged where None).
    by_hand: nobody could run this program where it was recorded; its record was written by hand.
    shared: names of files that several programs have beside them.
    says: words that must stand in message, remedy or evidence.
    """

    name: str
    folder: Path
    kind: str
    charged: bool
    what: str
    log_kind: str | None = None
    needs: tuple[str, ...] = ()
    phase: str | None = None
    by_hand: bool = False
    shared: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    limits: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def record(self) -> JobPaths:
        return JobPaths(self.folder / RECORD)

    @property
    def place(self) -> str | None:
        """`file:line` of the mark, or None for a failure that has no line."""
        marked = [
            f"{path.name}:{number}"
            for path in self.sources()
            for number, line in enumerate(path.read_bytes().split(b"\n"), start=1)
            if HERE.encode() in line
        ]
        assert len(marked) <= 1, f"{self.name} marks several lines: {marked}"
        return marked[0] if marked else None

    def sources(self) -> list[Path]:
        """The program's files."""
        own = [path for path in self.folder.iterdir() if path.is_file()]
        return sorted([*own, *(SHARED / name for name in self.shared)], key=lambda path: path.name)

    def digest(self) -> str:
        """A record belongs to exactly this program."""
        told = hashlib.sha256()
        for path in self.sources():
            if path.name != "case.toml":
                told.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        told.update(json.dumps([self.limits, self.env], sort_keys=True).encode())
        return told.hexdigest()

    def evidence(self) -> Evidence:
        """What the runner would know of this run."""
        made = json.loads((self.folder / RECORD / MADE).read_text())
        problem = made["results_problem"]
        return gather(
            JobExit.model_validate_json((self.folder / RECORD / "exit.json").read_text()),
            self.record,
            root=ROOT,
            editable=EDITABLE,
            limits=Limits(**self.limits),
            results_problem=Problem.model_validate(problem) if problem else None,
            free_memory=made["available_memory_bytes"],
        )

    def log(self) -> str:
        """Both streams as one saved log."""
        return "\n".join(map(read_text, (self.record.stdout, self.record.stderr)))


def load(folder: Path = CATALOGUE) -> list[Case]:
    """Every case of the catalogue, by name."""
    return [load_case(path.parent) for path in sorted(folder.glob("*/case.toml"))]


def load_case(folder: Path) -> Case:
    """One case. Raises TypeError for a field that `Case` does not have."""
    values = tomllib.loads((folder / "case.toml").read_text())
    for name in ("needs", "says", "shared"):
        values[name] = tuple(values.get(name, ()))
    return Case(name=folder.name, folder=folder, **values)
