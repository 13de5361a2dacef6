"""`args.x` that the parser does not define, and a `--out_dir` whose value nothing reads."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from agent_runner.records import Problem
from agent_runner.validation.argument_flow import Flow, Parser
from agent_runner.validation.file_index import FileIndex
from agent_runner.validation.syntax import FunctionNode, catches_attribute_error, listed

_ALIKE = 0.6  # difflib's ratio from which a name counts as a slip for another
_CATCHING = ast.Try | ast.TryStar | ast.With | ast.AsyncWith


def check_arguments(name: str, text: str) -> list[Problem]:
    """Find reads of arguments that the file's argparse parser does not define.

    An error where the parser and every use of its result are in sight, a warning where the result is also
    handed to code that may add to it, and nothing where the parser may define more than the text shows.
    A `--out_dir` that is taken and never read is a warning of kind "contract". `name` is the path of
    `text`, for the messages.
    """
    if "ArgumentParser" not in text:
        return []
    problems = []
    try:
        index = FileIndex(ast.parse(text))
        for parser in Flow(index).parsers:
            if not parser.unknown:
                problems += [*_undefined(name, index, parser), *_unread(name, index, parser)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # the check that compiles the file speaks
    return sorted(problems, key=lambda p: p.line or 0)


def _undefined(path: str, index: FileIndex, parser: Parser) -> Iterator[Problem]:
    """One problem for each attribute that is read and never defined, at its first read."""
    doubt = parser.shared or ("the file catches AttributeError" if index.catches else "")
    by_name: dict[str, list[ast.Attribute]] = {}
    for read in sorted(parser.reads, key=lambda r: r.lineno):
        by_name.setdefault(read.attr, []).append(read)
    for attribute, reads in by_name.items():
        if attribute in parser.defined or attribute in index.stored or attribute.startswith("_"):
            continue
        if any(_is_guarded(read, index) for read in reads):
            continue
        first = reads[0]
        shown = ast.unparse(first.value)
        lines = sorted({r.lineno for r in reads} - {first.lineno})
        also = f" It is also read at {listed(lines)}." if lines else ""
        unsure = f" Not certain: {doubt}." if doubt else ""
        alike = difflib.get_close_matches(attribute, sorted(parser.defined), 1, _ALIKE)
        add = f'`{parser.name}.add_argument("--{attribute}", default=...)` near line {parser.last_line}'
        advice = (
            f"Read `{shown}.{alike[0]}` (line {parser.defined[alike[0]]}), or add {add}."
            if alike
            else f"Add {add}."
        )
        yield Problem(
            kind="bad_arguments",
            path=path,
            line=first.lineno,
            severity="warning" if doubt else "error",
            message=f"{path}:{first.lineno}: `{shown}.{attribute}` is read, but the parser of line "
            f"{parser.call.lineno} defines no `{attribute}`: this line "
            f"{'may' if doubt else 'will'} raise AttributeError.{also}{unsure} {advice}",
        )


def _unread(path: str, index: FileIndex, parser: Parser) -> Iterator[Problem]:
    """A `--out_dir` that is taken, while nothing in the file can see its value."""
    line = parser.defined.get("out_dir")
    if line is None or not parser.results or parser.shared or parser.listed:
        return
    if "out_dir" in index.loaded | index.stored | index.strings:
        return
    yield Problem(
        kind="contract",
        path=path,
        line=line,
        severity="warning",
        message=f"{path}:{line}: --out_dir is taken, but its value is never read: the results are looked for "
        "in that folder after the run. Write them there (`args.out_dir`).",
    )


def _is_guarded(node: ast.AST, index: FileIndex) -> bool:
    """Say whether an AttributeError of the node would be caught in the same function."""
    child, parent = node, index.parents.get(node)
    while parent is not None and not isinstance(parent, FunctionNode | ast.Lambda):
        body = getattr(parent, "body", ())
        if isinstance(parent, _CATCHING) and child in body and catches_attribute_error(parent):
            return True
        child, parent = parent, index.parents.get(parent)
    return False
