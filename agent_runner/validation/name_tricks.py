"""Ways in which names come into a module that its text does not bind: `exec`, `globals()`, `builtins` ..."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable

from agent_runner.validation.name_scopes import Program

# Ways to give a module names that its text does not bind.
_TRICKS = frozenset(
    [
        "exec",
        "eval",
        "execfile",
        "globals",
        "locals",
        "builtins",
        "__builtins__",
        "__builtin__",
        "__globals__",
        "_getframe",
        "f_globals",
        "f_locals",
        "f_builtins",
        "__main__",
        "run_path",
        "run_module",
        "ctypes",
        "__code__",
        "FunctionType",
        "_convert_",
        "_convert",
        "global_enum",
        "load_session",
        "load_module",
        "global_flag_repr",
    ]
)
_TRICKY_ATTRIBUTES = _TRICKS - {"exec", "eval", "globals", "locals"}  # `model.eval()` is none
# They put functions of their own among the builtins.
_MODULES_THAT_INSTALL = frozenset({"birdseye", "devtools", "icecream", "snoop"})
_ANSWERED = frozenset(
    {"NameError", "UnboundLocalError"}
)  # the file counts on such an error somewhere
_IMPORTERS = frozenset({"__import__", "import_module", "reload"})  # of modules that are not known
_TRICKS_WITHOUT_ARGUMENTS = frozenset({"vars", "dir"})
# What tools put among the builtins: gettext, icecream, kernprof, IPython, type checkers.
_PUT_IN_BUILTINS = frozenset(
    ["_", "ic", "profile", "display", "get_ipython", "reveal_type", "reveal_locals"]
)


def file_tricks(program: Program, others: Iterable[str] = ()) -> str:
    """The way, if there is one, in which names come into a file that its text does not bind."""
    for node in ast.walk(program.tree):
        found = _trick(node)
        if found:
            return found
    words = "|".join(("exec", "run_path", "run_module", "builtins", "__builtins__", "__globals__"))
    for text in others:
        match = re.search(rf"(?<![.\w])(?:{words})\b|\.(?:run_path|run_module|__globals__)\b", text)
        if match:
            return f"another file uses {match[0].lstrip('.')}"
    return ""


def _trick(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return f"{node.id} is used" if node.id in _TRICKS | _ANSWERED else ""
    if isinstance(node, ast.Attribute):
        is_modules = node.attr == "modules" and getattr(node.value, "id", "") == "sys"
        return f"{node.attr} is used" if is_modules or node.attr in _TRICKY_ATTRIBUTES else ""
    if isinstance(node, ast.ImportFrom | ast.Import):
        return _trick_of_import(node)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        # `mock.patch("builtins.x")`, `import_module("builtins")`
        return "builtins is named" if node.value.partition(".")[0] == "builtins" else ""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if isinstance(node.func, ast.Name) and name in _TRICKS_WITHOUT_ARGUMENTS and not node.args:
            return f"{name}() is used"
        if name in _IMPORTERS and not all(_is_foreign_module(a) for a in node.args):
            return f"{name} is used"
    return ""


def _trick_of_import(node: ast.ImportFrom | ast.Import) -> str:
    names = [alias.name for alias in node.names]
    if "*" in names:
        return "`from ... import *` is used"
    if isinstance(node, ast.ImportFrom):
        if node.module == "sys" and "modules" in names:
            return "sys.modules is used"
        names.append((node.module or "").partition(".")[0])
    found = [name for name in names if name in _TRICKS | _MODULES_THAT_INSTALL]
    return f"{found[0]} is imported" if found else ""


def _is_foreign_module(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) and argument.value != "__main__"


def is_known_to_python(name: str) -> bool:
    """Whether the name has a value in every module, or may have one.

    A name with two underscores in front may be one of Python's own, or stand for another one in a class.
    """
    return name.startswith("__") or name in _PUT_IN_BUILTINS or hasattr(builtins, name)
