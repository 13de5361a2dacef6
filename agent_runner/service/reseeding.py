"""Moving every seed that a program writes down, to see whether its results move with it. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAMED = re.compile(r"(^|_)(seeds?|random_?state|rng_?key)($|_)", re.IGNORECASE)
# Names that count seeds, bound them, or say whether there are any.
_NO_SEED = re.compile(
    r"(^|_)(n|num|number|count|total|per|size|len|length|dim|bits|min|minimum|max|maximum|use|has|is|no|with)($|_)",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"(^|_)seeds($|_)", re.IGNORECASE)
# Functions of Python, numpy, torch, transformers, jax and their like whose first argument is a seed.
_SEEDING = {
    "seed",
    "set_seed",
    "manual_seed",
    "manual_seed_all",
    "seed_all",
    "seed_everything",
    "default_rng",
    "RandomState",
    "SeedSequence",
    "Random",
    "PRNGKey",
}

SEEDS = 2**32  # numpy takes 0 to 2**32 - 1
_WIDE_SEEDS = 2**64  # torch takes these, too


@dataclass(frozen=True)
class MovedSeed:
    """One seed that was moved: `value` stood on `line`."""

    line: int
    value: int
    moved: int


def move_seeds(text: str, offset: int) -> tuple[str, tuple[MovedSeed, ...]]:
    """The program with `offset` added to every seed it spells out as a whole number.

    Found are values of names and keywords that speak of a seed (`SEED = 42`, `random_state=0`,
    `{"seed": 1}`, a parameter's default, argparse's `--seed`, `for seed in [0, 1]`), and first arguments of
    functions that set one (`torch.manual_seed(0)`). Numbers of seeds and switches (`num_seeds = 3`,
    `use_seed = 0`) are none. The sum stays what numpy takes: below 2**32, going on at 0. A program with a
    syntax error is returned as it is.
    """
    if "\r" in text.replace("\r\n", ""):  # ends lines for Python, but not for `split`
        return text, ()
    try:
        found = [number for value in _seeds(ast.parse(text)) for number in _numbers(value)]
    except (SyntaxError, ValueError, RecursionError):
        return text, ()
    numbers = {(number.lineno, number.col_offset): number for number in found}
    lines = text.encode("utf-8").split(b"\n")
    moved = []
    for (line, column), number in sorted(numbers.items(), reverse=True):
        value = number.value
        assert isinstance(value, int)  # `_numbers` gives no others
        end = number.end_col_offset
        before = lines[line - 1]
        other = (value + offset) % (SEEDS if value < SEEDS else _WIDE_SEEDS)
        lines[line - 1] = before[:column] + str(other).encode() + before[end:]
        moved.append(MovedSeed(line, value, other))
    return b"\n".join(lines).decode("utf-8"), tuple(reversed(moved))


def _seeds(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions that give a seed."""
    for node in ast.walk(tree):
        for name, value in _named(node):
            if _is_seed(name) and (_is_list(value) or not _PLURAL.search(name)):
                yield value
        if isinstance(node, ast.Call) and _name(node.func) in _SEEDING:
            yield from node.args[:1]


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Names that get a value here, and the value."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((_name(target), value) for target in targets)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield _name(target), value
        case ast.NamedExpr(target=target, value=value):
            yield _name(target), value
        case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
            yield _name(target), value
        case ast.comprehension(target=target, iter=value):
            yield _name(target), value
        case ast.keyword(arg=str(name), value=value):
            yield name, value
        case ast.Dict(keys=keys, values=values):
            yield from ((_text(key), value) for key, value in zip(keys, values, strict=True))
        case ast.arguments():
            yield from _defaults(node)
        case ast.Call() if _name(node.func) == "add_argument":
            yield from _option(node)


def _option(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The default of a command line's option; of its names the first that speaks of a seed counts."""
    names = [_text(argument).lstrip("-").replace("-", "_") for argument in call.args]
    name = next(filter(_is_seed, names), "")
    yield from ((name, keyword.value) for keyword in call.keywords if keyword.arg == "default")


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        yield argument.arg, default
    for argument, maybe in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if maybe is not None:
            yield argument.arg, maybe


def _numbers(value: ast.expr) -> Iterator[ast.Constant]:
    """The whole numbers of a literal, and of both sides of a choice; what is computed is not touched."""
    match value:
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            pass
        case ast.IfExp(body=body, orelse=orelse):
            parts = [body, orelse]
        case ast.BoolOp(op=ast.Or(), values=parts):
            pass
        case _:
            parts = []
            if isinstance(value, ast.Constant) and type(value.value) is int:
                yield value
    for part in parts:
        yield from _numbers(part)


def _is_seed(name: str) -> bool:
    return bool(_NAMED.search(name)) and not _NO_SEED.search(name)


def _is_list(value: ast.expr) -> bool:
    """Whether it gives each seed; a plain number given for several is how many there are."""
    return isinstance(value, ast.List | ast.Tuple | ast.Set)


def _name(expression: ast.expr) -> str:
    """Of a variable, an attribute or an entry: its own name; empty where it has none."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=key):
            return _text(key)
    return ""


def _text(expression: ast.expr | None) -> str:
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        return expression.value
    return ""
