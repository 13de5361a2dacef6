"""Moving every seed that a program writes down, to see whether its results move with it. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAMED = re.compile(r"(^|_)(seeds?|random_?state|rng_?key)($|_)", re.IGNORECASE)
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


@dataclass(frozen=True)
class MovedSeed:
    """One seed that was moved: `value` stood on `line`."""

    line: int
    value: int
    moved: int


def move_seeds(text: str, offset: int) -> tuple[str, tuple[MovedSeed, ...]]:
    """The program with `offset` added to every seed it spells out as a whole number.

    Found are values of names and keywords that speak of a seed (`SEED = 42`, `random_state=0`,
    `{"seed": 1}`, a parameter's default, argparse's `--seed`), and first arguments of functions that set one
    (`torch.manual_seed(0)`). A program with a syntax error is returned as it is.
    """
    if "\r" in text.replace("\r\n", ""):  # ends lines for Python, but not for `split`
        return text, ()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text, ()
    numbers = {(n.lineno, n.col_offset): n for value in _seeds(tree) for n in _numbers(value)}
    lines = text.encode("utf-8").split(b"\n")
    moved = []
    for (line, column), number in sorted(numbers.items(), reverse=True):
        value = number.value
        assert isinstance(value, int)  # `_numbers` gives no others
        end = number.end_col_offset
        before = lines[line - 1]
        lines[line - 1] = before[:column] + str(value + offset).encode() + before[end:]
        moved.append(MovedSeed(line, value, value + offset))
    return b"\n".join(lines).decode("utf-8"), tuple(reversed(moved))


def _seeds(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions that give a seed."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value) if any(map(_is_seed, targets)):
                yield value
            case ast.AnnAssign(target=target, value=ast.expr() as value) if _is_seed(target):
                yield value
            case ast.keyword(arg=str(name), value=value) if _NAMED.search(name):
                yield value
            case ast.Dict(keys=keys, values=values):
                yield from (v for k, v in zip(keys, values, strict=True) if _says_seed(k))
            case ast.arguments():
                yield from _defaults(node)
            case ast.Call():
                yield from _arguments(node)


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else _name(call.func)
    if name in _SEEDING:
        yield from call.args[:1]
    elif name == "add_argument" and any(map(_says_seed, call.args)):
        yield from (keyword.value for keyword in call.keywords if keyword.arg == "default")


def _defaults(arguments: ast.arguments) -> Iterator[ast.expr]:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(with_default, arguments.defaults, strict=True)]
    pairs += [
        (argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    yield from (default for argument, default in pairs if _NAMED.search(argument.arg))


def _numbers(value: ast.expr) -> Iterator[ast.Constant]:
    """The whole numbers of a literal; what is computed is not touched."""
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        for element in value.elts:
            yield from _numbers(element)
    elif isinstance(value, ast.Constant) and type(value.value) is int:
        yield value


def _is_seed(target: ast.expr) -> bool:
    name = target.attr if isinstance(target, ast.Attribute) else _name(target)
    return bool(name and _NAMED.search(name))


def _says_seed(expression: ast.expr | None) -> bool:
    if not isinstance(expression, ast.Constant) or not isinstance(expression.value, str):
        return False
    return bool(_NAMED.search(expression.value.lstrip("-").replace("-", "_")))


def _name(expression: ast.expr) -> str | None:
    return expression.id if isinstance(expression, ast.Name) else None
