"""ruff's findings in an edited file, as problems that an agent can act on.

An undefined name that certainly ends the run is an error, and the edit is refused before it costs a run.
Everything else is a warning beside a run that takes place. Style is never mentioned.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from agent_runner.records import Problem
from agent_runner.validation import linters
from agent_runner.validation.linters import Finding, Linted
from agent_runner.validation.name_doubts import (
    SILENT,
    Doubt,
    binding_doubt,
    place_doubt,
)
from agent_runner.validation.name_help import help_for
from agent_runner.validation.name_reach import enclosing_functions, reached_functions
from agent_runner.validation.name_scopes import Function, Program, Scope, read_program
from agent_runner.validation.name_tricks import file_tricks, is_known_to_python
from agent_runner.validation.syntax import shortened

UNDEFINED = ("F821", "F823")
# Faults at run time, or code that cannot mean what it says. Left out with intent: what only has no use
# (F401, F541, F504, F522, F523), what `compile` refuses (F7xx), what only a type checker reads (F722).
DOUBTFUL = (
    *("F402", "F502", "F503", "F505", "F506", "F507", "F508", "F509", "F521", "F524", "F525"),
    *("F601", "F602", "F631", "F632", "F633", "F634", "F811", "F841"),
)
_MOST_FINDINGS = 200  # looked at in one file
_MOST_PROBLEMS = 20
_OURS = sys.version_info[:2]


def undefined_names(
    name: str,
    text: str,
    *,
    before: str | None = None,
    others: Mapping[str, str] | None = None,
    version: tuple[int, int] = _OURS,
) -> list[Problem]:
    """Names without a value in one file, one problem per name and function: `name_error`.

    `before` is the text that the edit started from: names that had no value there either are not the
    edit's, and are known to do no harm. `others` (path -> text) are the other files of the worktree that
    may use this one or help it. `version` is that of the Python that will run the file.

    Severity `error` where the line certainly raises NameError once it is reached, and something leads to
    it; `warning` where that is in doubt. Empty where ruff is not available (see `linters.unavailable`).
    """
    try:
        return _undefined_names(name, text, before, others or {}, version)
    except RecursionError:  # nesting that our own walks cannot follow says nothing against the file
        return []


def _undefined_names(
    name: str, text: str, before: str | None, others: Mapping[str, str], version: tuple[int, int]
) -> list[Problem]:
    found = [f for f in _ruff(text, version).findings if f.rule in UNDEFINED][:_MOST_FINDINGS]
    program = read_program(text) if found else None
    if program is None:
        return []
    old = _undefined_before(before, version)
    judge = _Judge(program, others, version)
    groups: dict[tuple[str, str], _Group] = {}
    for finding in found:
        node = _node(program, finding)
        use = judge.use(node) if node is not None and node.id not in old else None
        if use is not None:
            groups.setdefault((use.node.id, use.where), _Group()).uses.append(use)
    ordered = sorted(
        groups.values(), key=lambda group: (not group.is_certain, group.first.node.lineno)
    )
    return [_problem(name, judge, group) for group in ordered[:_MOST_PROBLEMS]]


def doubtful_code(
    name: str, text: str, *, before: str | None = None, version: tuple[int, int] = _OURS
) -> list[Problem]:
    """Warnings (`doubtful_code`) on code that cannot mean what it says, and is new against `before`."""
    found = [f for f in _ruff(text, version).findings if f.rule in DOUBTFUL][:_MOST_FINDINGS]
    program = read_program(text) if found else None
    if program is None:
        return []
    old = set()
    if before is not None:
        lines = linters.lines_of(before)
        for f in _ruff(before, version).findings:
            code = lines[f.line - 1].strip() if f.line <= len(lines) else ""
            old.add((f.rule, f.message, code))
    problems = []
    for finding in found:
        code = program.line(finding.line)
        words = _doubtful(program, finding)
        if words and (finding.rule, finding.message, code) not in old:
            message = f"{name}:{finding.line}: {words}: `{shortened(code)}`"
            problems.append(_warning("doubtful_code", name, finding.line, message))
    return problems[:_MOST_PROBLEMS]


# ------------------------------------------------------------ undefined names


@dataclass(frozen=True)
class _Use:
    node: ast.Name
    where: str  # the function, class or module it stands in
    doubt: Doubt | None


@dataclass
class _Group:
    """The uses of one name in one function."""

    uses: list[_Use] = field(default_factory=list)

    @property
    def is_certain(self) -> bool:
        return any(use.doubt is None for use in self.uses)

    @property
    def first(self) -> _Use:
        """The one to speak of: the first certain one, else the first."""
        return min(self.uses, key=lambda use: (use.doubt is not None, use.node.lineno))


class _Judge:
    """Says of each use of an undefined name whether it certainly ends the run."""

    def __init__(
        self, program: Program, others: Mapping[str, str], version: tuple[int, int]
    ) -> None:
        self.program = program
        self.others = others
        self._version = version
        self._tricks = file_tricks(program, others.values())
        self._reached = reached_functions(program, others.values())

    def use(self, node: ast.Name) -> _Use | None:
        """None where there is nothing to say."""
        if is_known_to_python(node.id):
            return None
        doubt = place_doubt(self.program, node, self._version) or binding_doubt(self.program, node)
        if doubt is None and self._tricks:
            doubt = Doubt(f"the file may get it in another way ({self._tricks})")
        doubt = doubt or self._unreached(node)
        if doubt is not None and doubt.words == SILENT:
            return None
        return _Use(node, self._where(node), doubt)

    def _unreached(self, node: ast.Name) -> Doubt | None:
        for scope in enclosing_functions(self.program, self.program.scopes[node]):
            if scope.node not in self._reached:
                return Doubt(f"nothing in the file leads to {scope.qualified_name}")
        return None

    def _where(self, node: ast.Name) -> str:
        scope: Scope | None = self.program.scopes[node]
        while scope is not None and not isinstance(scope.node, Function | ast.ClassDef):
            scope = scope.parent
        return scope.qualified_name if scope else ""


def _problem(path: str, judge: _Judge, group: _Group) -> Problem:
    first, program = group.first, judge.program
    node, line = first.node, first.node.lineno
    place = f" in {first.where}" if first.where else ""
    scope = program.scopes[node]
    is_local = scope.kind == "function" and node.id in scope.bindings
    error = "UnboundLocalError" if is_local else "NameError"
    message = f"{path}:{line}: `{node.id}` has no value{place}: `{shortened(program.line(line))}`"
    message += f" raises {error}." if first.doubt is None else f", but {first.doubt.words}."
    advice = help_for(program, node, judge.others)
    message += f" {advice}" if advice else ""
    rest = sorted({use.node.lineno for use in group.uses} - {line})
    if rest:
        also = ", ".join(map(str, rest[:10])) + (", ..." if len(rest) > 10 else "")
        message += f" The same in line{'s' if len(rest) > 1 else ''} {also}."
    severity: Literal["error", "warning"] = "warning" if first.doubt else "error"
    return Problem(kind="name_error", message=message, path=path, line=line, severity=severity)


def _node(program: Program, finding: Finding) -> ast.Name | None:
    """The name that a finding is about; None where none stands there (in a string, say)."""
    name = finding.message.partition("`")[2].partition("`")[0]
    return program.name_at(finding.line, finding.column, name)


def _undefined_before(before: str | None, version: tuple[int, int]) -> set[str]:
    if before is None:
        return set()
    findings = [f for f in _ruff(before, version).findings if f.rule in UNDEFINED]
    return {f.message.partition("`")[2].partition("`")[0] for f in findings}


def _ruff(text: str, version: tuple[int, int]) -> Linted:
    """One process answers both questions, and the text before an edit is asked about once."""
    answer = _remembered(text, version)
    if answer.unavailable:
        _remembered.cache_clear()  # it may be there next time
    return answer


@lru_cache(maxsize=8)
def _remembered(text: str, version: tuple[int, int]) -> Linted:
    return linters.ruff(text, (*UNDEFINED, *DOUBTFUL), version)


# ------------------------------------------------------------ the rest


def _doubtful(program: Program, finding: Finding) -> str:
    """What a finding says, in our words where ruff's do not tell what will happen; empty to say nothing."""
    if finding.rule == "F811":
        return _redefined(program, finding)
    if finding.rule == "F841":
        variable = finding.message.partition("`")[2].partition("`")[0]
        is_caught = program.line(finding.line).startswith("except")
        if is_caught or variable.startswith("_") or not _is_computed(program, finding, variable):
            return ""
        return f"`{variable}` is computed here, and nothing reads it"
    if finding.rule == "F402":
        return f"{finding.message}: the import is gone after this line"
    return finding.message


def _is_computed(program: Program, finding: Finding, variable: str) -> bool:
    """Whether the value is worked out, and not another name for what exists: `d = cfg.d_model` does no harm."""
    node = program.name_at(finding.line, finding.column, variable)
    holder = program.parents[node][0] if node is not None else None
    value = getattr(holder, "value", None)
    return value is not None and any(isinstance(n, ast.BinOp | ast.Call) for n in ast.walk(value))


def _redefined(program: Program, finding: Finding) -> str:
    """Only what is defined twice in full: a module imported twice does no harm."""
    variable = finding.message.partition("`")[2].partition("`")[0]
    for scope in (program.module, *program.inner.values()):
        found = [b for b in scope.bindings.get(variable, []) if b.how in ("function", "class")]
        lines = [b.line for b in found]
        if finding.line in lines[1:]:
            where = f"{scope.qualified_name}.{variable}" if scope.name else variable
            return (
                f"{where} was already defined in line {lines[0]}, and only this later definition counts; "
                "delete the one that is not meant"
            )
    return ""


def _warning(kind: str, path: str, line: int, message: str) -> Problem:
    return Problem(kind=kind, message=message, path=path, line=line, severity="warning")
