"""`args.x` that the parser does not define, and a `--out_dir` whose value nothing reads."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from agent_runner.records import Problem
from agent_runner.validation.argument_flow import Flow, Parser
from agent_runner.validation.file_index import FileIndex
from agent_runner.validation.syntax import FunctionNode, catches_attribute_error, listed

_ALIKE = 0.6  # difflib's ratio from which a name counts as a slip for another
_MOST = 20
_CATCHING = ast.Try | ast.TryStar | ast.With | ast.AsyncWith


def check_arguments(name: str, text: str, before: str | None = None) -> list[Problem]:
    """Find reads of arguments that the file's argparse parser does not define.

    An error where the parser and every use of its result are in sight, a warning where the result is also
    handed to code that may add to it, and nothing where the parser may define more than the text shows.
    A `--out_dir` that is taken and never read is a warning of kind "contract". At most 20 problems. What the
    text `before` the edit (the template's) shows too is not the edit's. `name` is the path of `text`, for
    the messages.
    """
    found = _faults(text)
    if not found:
        return []
    old = {fault.key for fault in _faults(before)} if before is not None else set()
    fresh = [f for f in found if f.key not in old and (f.attribute, "") not in old]
    return [_problem(name, fault) for fault in fresh[:_MOST]]


@dataclass(frozen=True)
class _Fault:
    """An argument that is read and not defined; with no reads, an `--out_dir` that is defined and not read."""

    parser: Parser
    attribute: str
    line: int
    reads: tuple[ast.Attribute, ...] = ()
    doubt: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same wherever the fault stands in a file."""
        return self.attribute, "" if self.reads and not self.doubt else "in doubt"


def _faults(text: str) -> list[_Fault]:
    """The faults of a file in line order."""
    if "ArgumentParser" not in text:
        return []
    try:
        index = FileIndex(ast.parse(text))
        parsers = [parser for parser in Flow(index).parsers if not parser.unknown]
        found = [f for p in parsers for f in (*_undefined(index, p), *_unread(index, p))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # the check that compiles the file speaks
    return sorted(found, key=lambda fault: fault.line)


def _undefined(index: FileIndex, parser: Parser) -> Iterator[_Fault]:
    """One fault for each attribute that is read and never defined, at its first read."""
    doubt = parser.shared or ("the file catches AttributeError" if index.catches else "")
    by_name: dict[str, list[ast.Attribute]] = {}
    for read in sorted(parser.reads, key=lambda r: r.lineno):
        by_name.setdefault(read.attr, []).append(read)
    for attribute, reads in by_name.items():
        if attribute in parser.defined or attribute in index.stored or attribute.startswith("_"):
            continue
        if not any(_is_guarded(read, index) for read in reads):
            yield _Fault(parser, attribute, reads[0].lineno, tuple(reads), doubt)


def _unread(index: FileIndex, parser: Parser) -> Iterator[_Fault]:
    """A `--out_dir` that is taken, while nothing in the file can see its value."""
    line = parser.defined.get("out_dir")
    if line is None or not parser.results or parser.shared or parser.listed:
        return
    if "out_dir" not in index.loaded | index.stored | index.strings:
        yield _Fault(parser, "out_dir", line)


def _problem(path: str, fault: _Fault) -> Problem:
    line, doubt = fault.line, fault.doubt
    if not fault.reads:
        return Problem(
            kind="contract",
            path=path,
            line=line,
            severity="warning",
            message=f"{path}:{line}: --out_dir is taken, but its value is never read: the results are looked "
            "for in that folder after the run. Write them there (`args.out_dir`).",
        )
    shown = ast.unparse(fault.reads[0].value)
    lines = sorted({r.lineno for r in fault.reads} - {line})
    also = f" It is also read at {listed(lines)}." if lines else ""
    unsure = f" Not certain: {doubt}." if doubt else ""
    return Problem(
        kind="bad_arguments",
        path=path,
        line=line,
        severity="warning" if doubt else "error",
        message=f"{path}:{line}: `{shown}.{fault.attribute}` is read, but the parser of line "
        f"{fault.parser.call.lineno} defines no `{fault.attribute}`: this line "
        f"{'may' if doubt else 'will'} raise AttributeError.{also}{unsure} {_advice(fault, shown)}",
    )


def _advice(fault: _Fault, shown: str) -> str:
    """What to change, from the likeliest slip to the least."""
    parser, name = fault.parser, fault.attribute
    add = f'add `{parser.name}.add_argument("--{name}", default=...)` near line {parser.last_line}'
    if name in parser.short:
        kept = parser.short[name]
        return f"`-{name}` is kept as `{shown}.{kept}` (line {parser.defined[kept]}): read that."
    for opposite in (f"no_{name}", f"disable_{name}", name.removeprefix("no_")):
        if opposite in parser.defined and opposite != name:
            line = parser.defined[opposite]
            return f"Read `not {shown}.{opposite}` (line {line}), or {add}."
    alike = difflib.get_close_matches(name, sorted(parser.defined), 1, _ALIKE)
    if alike:
        return f"Read `{shown}.{alike[0]}` (line {parser.defined[alike[0]]}), or {add}."
    return f"{add[0].upper()}{add[1:]}."


def _is_guarded(node: ast.AST, index: FileIndex) -> bool:
    """Say whether an AttributeError of the node would be caught in the same function."""
    child, parent = node, index.parents.get(node)
    while parent is not None and not isinstance(parent, FunctionNode | ast.Lambda):
        body = getattr(parent, "body", ())
        if isinstance(parent, _CATCHING) and child in body and catches_attribute_error(parent):
            return True
        child, parent = parent, index.parents.get(parent)
    return False
