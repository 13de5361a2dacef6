"""What to change where a name has no value: an import to add, an attribute to read, the nearest name."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from agent_runner.validation.name_reach import enclosing_functions
from agent_runner.validation.name_scopes import (
    Function,
    Program,
    Scope,
    first_parameter,
    method_around,
)

_MODULES = frozenset(
    [
        "argparse",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "csv",
        "dataclasses",
        "datetime",
        "functools",
        "gc",
        "glob",
        "hashlib",
        "heapq",
        "inspect",
        "io",
        "itertools",
        "json",
        "logging",
        "math",
        "operator",
        "os",
        "pathlib",
        "pickle",
        "random",
        "re",
        "shutil",
        "statistics",
        "string",
        "subprocess",
        "sys",
        "tempfile",
        "textwrap",
        "threading",
        "time",
        "traceback",
        "types",
        "typing",
        "uuid",
        "warnings",
        "datasets",
        "einops",
        "numpy",
        "pandas",
        "scipy",
        "sklearn",
        "torch",
        "tqdm",
        "transformers",
        "wandb",
    ]
)
_FROM = {
    "typing": "Any Callable ClassVar Dict Generator Iterable Iterator List Literal Mapping NamedTuple Optional "
    "Protocol Sequence Set Tuple Type TypeVar Union",
    "collections": "Counter OrderedDict defaultdict deque namedtuple",
    "dataclasses": "asdict dataclass",
    "functools": "lru_cache partial wraps",
    "contextlib": "contextmanager nullcontext",
    "pathlib": "Path",
    "copy": "deepcopy",
    "torch": "Tensor",
    "torch.nn": "Parameter",
    "torch.utils.data": "DataLoader Dataset TensorDataset",
    "einops": "einsum rearrange repeat",
    "abc": "ABC abstractmethod",
    "enum": "Enum",
    "tqdm": "trange",
}
_IMPORTS = {
    **{module: f"import {module}" for module in _MODULES},
    **{
        name: f"from {module} import {name}"
        for module, names in _FROM.items()
        for name in names.split()
    },
    "F": "import torch.nn.functional as F",
    "init": "from torch.nn import init",
    "nn": "import torch.nn as nn",
    "np": "import numpy as np",
    "optim": "import torch.optim as optim",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "sns": "import seaborn as sns",
    "tqdm": "from tqdm import tqdm",
    "pprint": "from pprint import pprint",
}
_BUILTINS = [name for name in dir(builtins) if not name.startswith("_")]
_CONSTANTS = {"true": "True", "false": "False", "none": "None", "null": "None", "nil": "None"}


def help_for(program: Program, name: ast.Name, others: Mapping[str, str]) -> str:
    """One sentence on what to change; empty where nothing is plausible."""
    scope = program.scopes[name]
    return (
        _of_class_body(name.id, scope)
        or _bound_below(program, name, scope)
        or _of_the_object(name.id, scope)
        or _import(name)
        or _of_other_method(program, name.id, scope)
        or _in_other_file(name.id, others)
        or _of_other_function(program, name.id, scope)
        or _did_you_mean(program, name.id, scope)
    )


def _of_class_body(name: str, scope: Scope) -> str:
    """A comprehension or a lambda in a class body, which cannot see the names of that body."""
    inner = scope
    while inner.kind == "comprehension" or isinstance(inner.node, ast.Lambda):
        if inner.parent is None:
            return ""
        inner = inner.parent
    if inner is scope or inner.kind != "class" or name not in inner.bindings:
        return ""
    what = "a lambda" if isinstance(scope.node, ast.Lambda) else "a comprehension"
    return (
        f"`{name}` belongs to the body of class {inner.name} (line {inner.bindings[name][0].line}), and "
        f"{what} there cannot see it: define `{name}` above the class, or use a `for` loop."
    )


def _bound_below(program: Program, name: ast.Name, scope: Scope) -> str:
    """It gets its value in the same module or function, but further down."""
    # Within a function, only its own variables come into question: it runs when all else is there.
    around = enclosing_functions(program, scope)
    looked_in = [scope, *(around[:1] or [program.module])]
    for holder in looked_in:
        bound = holder.bindings.get(name.id, [])
        deleted = [b.line for b in bound if b.how == "del" and b.line < name.lineno]
        found = [b for b in bound if b.how != "del"]
        if not found:
            continue
        if deleted:
            return f"Line {deleted[-1]} deletes it: use it before that line, or do not delete it."
        if all(b.how == "caught" for b in found):
            return f"Keep it under another name within that `except`: `error = {name.id}`."
        binding = min(found, key=lambda b: b.line)
        if binding.how == "class" and any(node is binding.node for node, _ in program.chain(name)):
            return (
                f"The class `{name.id}` does not exist yet while its own body is executed: write the "
                f'annotation as a string, `"{name.id}"`.'
            )
        outer = _of_outer(program, name.id, around) if holder.kind == "function" else ""
        if outer:
            return (
                f"`{name.id}` is assigned in line {binding.line} of the same function, so it is a local "
                f"variable all through it, and has no value yet here. {outer}"
            )
        if binding.line <= name.lineno:
            return "This is where it gets its first value: give it one before."
        return f"It gets its value in line {binding.line}, after this line: move that above."
    return ""


def _of_outer(program: Program, name: str, around: list[Scope]) -> str:
    """Advice where a function assigns a name that also exists around it."""
    holder = next((s for s in [*around[1:], program.module] if name in s.bindings), None)
    if holder is None:
        return ""
    is_global = holder is program.module
    whose, word = ("the module", "global") if is_global else (holder.qualified_name, "nonlocal")
    return (
        f"Where that of {whose} is meant, write `{word} {name}` at the start of the function; "
        "else give it a value above this line."
    )


def _of_the_object(name: str, scope: Scope) -> str:
    """It is an attribute or a method of the object whose method this is."""
    method = method_around(scope)
    if method is None or method.parent is None:
        return ""
    owner, self_ = method.parent, first_parameter(method)
    if not self_:
        return ""
    if name in owner.attributes:
        binding = owner.attributes[name][0]
        where = f"{owner.name}.{binding.how} (line {binding.line})"
        return f"`{self_}.{name}` is set in {where}: read `{self_}.{name}` here."
    if name in owner.bindings:
        binding = owner.bindings[name][0]
        what = "a method" if binding.how == "function" else "an attribute"
        return f"`{name}` is {what} of {owner.name} (line {binding.line}): write `{self_}.{name}`."
    return ""


def _import(name: ast.Name) -> str:
    statement = _IMPORTS.get(name.id)
    return f"Add `{statement}` at the top of the file." if statement else ""


def _of_other_method(program: Program, name: str, scope: Scope) -> str:
    method = method_around(scope)
    if method is None or method.parent is None or not first_parameter(method):
        return ""
    self_ = first_parameter(method)
    for other in program.inner.values():
        if other.parent is not method.parent or other is method or name not in other.bindings:
            continue
        binding, where = other.bindings[name][0], f"{method.parent.name}.{other.name}"
        what = "a parameter" if binding.how == "parameter" else "a local variable"
        return (
            f"`{name}` is {what} of {where} (line {binding.line}) and known only there: set "
            f"`{self_}.{name} = {name}` there and read `{self_}.{name}` here."
        )
    return ""


def _in_other_file(name: str, others: Mapping[str, str]) -> str:
    for path, text in others.items():
        if not path.endswith(".py") or name not in text:
            continue
        defined = rf"^(?:(?:async )?def {name}\b|class {name}\b|{name} *(?::.*)?=)"
        if re.search(defined, text, re.MULTILINE):
            module = ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")
            statement = f"from {module} import {name}"
            return f"`{name}` is defined in {path}: add `{statement}` at the top of the file."
    return ""


def _of_other_function(program: Program, name: str, scope: Scope) -> str:
    if len(name) == 1:  # `x` is a local variable of half the functions there are
        return ""
    around = {id(s) for s in enclosing_functions(program, scope)}
    for other in program.inner.values():
        if (
            not isinstance(other.node, Function)
            or id(other) in around
            or name not in other.bindings
        ):
            continue
        binding = other.bindings[name][0]
        what = "a parameter" if binding.how == "parameter" else "a local variable"
        return (
            f"`{name}` is {what} of {other.qualified_name} (line {binding.line}) and known only there: "
            "pass it on as an argument, or return it."
        )
    return ""


def _did_you_mean(program: Program, name: str, scope: Scope) -> str:
    known: dict[str, None] = {}
    inner: Scope | None = scope
    while inner is not None:
        if inner.kind != "class" or inner is scope:
            known.update(dict.fromkeys(inner.bindings))
        inner = inner.parent
    known.pop(name, None)
    if len(name) < 3 or len(known) > 2000:
        return ""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    near = near or difflib.get_close_matches(name, _BUILTINS, n=1, cutoff=0.85)
    if name.lower() in _CONSTANTS:
        near = [_CONSTANTS[name.lower()]]
    return f"Did you mean `{near[0]}`?" if near else ""
