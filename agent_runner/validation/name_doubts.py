"""Is it certain that a name without a value ends the run? What speaks against it, in words.

The rule is to be certain or to say so: a correct program must never be refused. So a name counts as certain
only where no assignment, no trick and no guard that this file shows can save it, and something in the file
leads to its line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent_runner.validation.name_scopes import (
    Binding,
    Comprehension,
    Function,
    Program,
    Scope,
    end,
)

_MOST_BINDINGS = 50
_MORE_THAN_ONCE = (ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar)  # or in another order
SILENT = ""  # a doubt that is not worth a word: the program is as it should be

_GUARDS = re.compile(
    r"(?i)(^|_)(is_?)?py(thon)?_?[23]|version|platform|type_checking|^mypy$|windows|win32|posix|jython|pypy|"
    r"ipython|jupyter|notebook|colab|^unicode|^basestring"
)
_MAY_SWALLOW = re.compile(
    r"(?i)suppress|raises|ignor|swallow|catch|except|silence|optional|attempt|assert|expect|error|fail|warns"
)
_EXPECTS = re.compile(
    r"^(?:assert_?raises.*|raises|expect.*raise.*|assert_?warns.*)$", re.IGNORECASE
)
_CATCHES = frozenset({"NameError", "UnboundLocalError", "Exception", "BaseException"})
_OTHER_EXCEPTIONS = re.compile(r"(?:Error|Exit|Interrupt|Iteration|Warning|Expired|Empty|Full)$")
_LEAVING_CALLS = frozenset(["exit", "_exit", "quit", "abort", "skip", "fail", "skipTest"])
_SKIPS = re.compile(r"(?i)skip|xfail|overload|type_check|expectedfailure")


@dataclass(frozen=True)
class Doubt:
    """Why a name may do no harm; `words` go on after "but", and are SILENT where nothing is to be said."""

    words: str


# ------------------------------------------------------------ does it have a value at that time


def binding_doubt(program: Program, name: ast.Name) -> Doubt | None:
    """A doubt where the name is bound somewhere that this use may see; None where it certainly is not.

    A use in the scope that binds the name, or in class bodies and comprehensions executed in its midst, is
    certain to come first if every binding stands after it and no loop encloses both.
    """
    if _has_metaclass(program.scopes[name].node):
        return Doubt("the metaclass may provide it")
    at_once = True  # executed where it stands, and not when something is called later
    scope: Scope | None = program.scopes[name]
    own = scope
    around = {node for node, _part in program.chain(name)}
    while scope is not None:
        if scope.kind != "class" or scope is own:
            found = scope.bindings.get(name.id, [])
            if any(b.how == "caught" and b.node in around for b in found):
                return Doubt(SILENT)  # a function within the `except`
            if found and not at_once:
                return Doubt(f"it is given a value in line {found[0].line}")
            if len(found) > _MOST_BINDINGS:
                return Doubt("it is given a value in many lines")
            for binding in found:
                if binding.how == "caught" and binding.node not in around:
                    continue  # gone at the end of its `except`, and not there before it
                if not _comes_after(program, name, scope, binding):
                    return Doubt(_of_binding(binding))
            if found and scope.kind == "function":
                return None  # a local variable all through it, whatever there is around it
        if scope.kind == "function" or isinstance(scope.node, ast.GeneratorExp):
            at_once = False
        scope = scope.parent
    return None


def _of_binding(binding: Binding) -> str:
    if binding.how == "del":
        return f"that depends on what line {binding.line} deletes"
    if binding.how == "global":
        return SILENT  # a function sets it
    return f"it is given a value in line {binding.line}"


def _has_metaclass(node: ast.AST) -> bool:
    """Whether a class body is executed in a namespace that another class prepares."""
    if not isinstance(node, ast.ClassDef):
        return False
    words = [word for k in node.keywords if k.arg == "metaclass" for word in _words(k.value)]
    return bool(words) and "ABCMeta" not in words


def _comes_after(program: Program, name: ast.Name, scope: Scope, binding: Binding) -> bool:
    if binding.how in ("walrus", "global", "del", "parameter") or scope.kind == "comprehension":
        return False
    if binding.since < end(name):
        return False
    around = {node for node, _part in program.chain(binding.node)} | {binding.node}
    for node, _part in program.chain(name):
        if node is scope.node:
            break
        if isinstance(node, _MORE_THAN_ONCE) and node in around:
            return _in_the_first_round(program, name, node)
    return True


def _in_the_first_round(program: Program, name: ast.Name, loop: ast.AST) -> bool:
    """Whether a use in a loop is executed as soon as the loop's body is, whatever its conditions."""
    if not isinstance(loop, ast.For | ast.AsyncFor | ast.While) or any(
        isinstance(n, ast.Continue | ast.Break) and n.lineno < name.lineno for n in ast.walk(loop)
    ):
        return False
    for node, part in program.chain(name):
        if node is loop:
            return part == "body"
        inner = part in ("body", "orelse", "handlers", "finalbody", "cases")
        if inner or isinstance(node, ast.BoolOp | ast.IfExp | Comprehension):
            return False
    return False


# ------------------------------------------------------------ is it reached, does the error get through


def place_doubt(program: Program, name: ast.Name, version: tuple[int, int]) -> Doubt | None:
    """A doubt from what stands around the use: guards, handlers, annotations, dead code."""
    chain = program.chain(name)
    child: ast.AST = name
    called_later = False
    for node, part in chain:
        doubt = _annotation(program, node, part, version)
        if doubt is None and not called_later:
            doubt = _protection(node, part)
        doubt = doubt or _condition(program, node, part, child) or _dead(node, part, child)
        if doubt:
            return doubt
        if isinstance(node, Function | ast.Lambda) and part == "body":
            called_later = True
        child = node
    return None


def _annotation(
    program: Program, node: ast.AST, part: str, version: tuple[int, int]
) -> Doubt | None:
    if part not in ("annotation", "returns"):
        return None
    later = version >= (3, 14) or any(
        isinstance(n, ast.ImportFrom)
        and n.module == "__future__"
        and any(a.name == "annotations" for a in n.names)
        for n in program.tree.body
    )
    in_function = isinstance(node, ast.AnnAssign) and program.scopes[node].kind == "function"
    return Doubt(SILENT) if later or in_function else None


def _protection(node: ast.AST, part: str) -> Doubt | None:
    """What catches the error, and lines that only run when something else has gone wrong."""
    if isinstance(node, ast.Try | ast.TryStar):
        return _handlers(node, part)
    if isinstance(node, ast.With | ast.AsyncWith) and part == "body":
        words = {word for item in node.items for word in _words(item)} - {"catch_warnings"}
        if any(map(_MAY_SWALLOW.search, words)):
            return Doubt("the `with` around it may let the run go on")
        return None
    if isinstance(node, ast.ExceptHandler):
        return Doubt("the line only runs after another exception")
    if isinstance(node, ast.Raise):
        return Doubt("the line only runs where it raises an exception anyway")
    if isinstance(node, ast.Assert) and part == "msg":
        return Doubt("the line only runs where the assertion fails anyway")
    return None


def _handlers(node: ast.Try | ast.TryStar, part: str) -> Doubt | None:
    leaving = (ast.Return, ast.Break, ast.Continue)
    if any(isinstance(n, leaving) for statement in node.finalbody for n in ast.walk(statement)):
        return Doubt("the `finally` around it may let the run go on")
    if part != "body":
        return None
    for handler in node.handlers:
        names = _caught(handler.type)
        if names is not None and not names & _CATCHES:
            continue
        if names is not None and names & {"NameError", "UnboundLocalError"}:
            return Doubt(SILENT)  # the usual way to ask whether a name exists
        if not isinstance(handler.body[-1], ast.Raise):
            return Doubt(f"the `except` in line {handler.lineno} hides the NameError")
    return None


def _caught(type_: ast.expr | None) -> set[str] | None:
    """The names of the exceptions that a handler takes; None where it takes all, or they are not known."""
    if type_ is None:
        return None
    names = set()
    for part in type_.elts if isinstance(type_, ast.Tuple) else [type_]:
        name = part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "")
        if name not in _CATCHES and not _OTHER_EXCEPTIONS.search(name):
            return None
        names.add(name)
    return names


def _condition(program: Program, node: ast.AST, part: str, child: ast.AST) -> Doubt | None:
    if isinstance(node, Function | ast.ClassDef):
        words = [word for decorator in node.decorator_list for word in _words(decorator)]
        if part == "body" and any(_SKIPS.search(w) or _MAY_SWALLOW.search(w) for w in words):
            return Doubt(f"a decorator of {node.name} may skip it or hide the NameError")
        return None
    tests: Sequence[ast.expr] = ()
    if isinstance(node, ast.If | ast.While | ast.IfExp) and part in ("body", "orelse"):
        tests = [node.test]
        if _never(program, node.test) is (part == "body"):
            return Doubt("its condition is never true")
    elif isinstance(node, ast.BoolOp):
        tests = node.values[: node.values.index(child)] if child in node.values else []
        if any(_never(program, test) is isinstance(node.op, ast.And) for test in tests):
            return Doubt("its condition is never true")
    elif isinstance(node, Comprehension):
        tests = [test for clause in node.generators for test in clause.ifs]
    elif isinstance(node, ast.Call) and any(_EXPECTS.search(w) for w in _words(node.func)):
        return Doubt("the call around it expects an exception")
    if any(_is_guard(test) for test in tests):
        return Doubt(SILENT)
    return None


def _is_guard(test: ast.expr) -> bool:
    """Whether a condition asks for the version, the system or the tool that runs the file."""
    words = _words(test)
    if any(_GUARDS.search(word) for word in words):
        return True
    if any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(test)):
        # `if __name__ == "__channelexec__":` is for a tool that provides names
        constants = [n.value for n in ast.walk(test) if isinstance(n, ast.Constant)]
        return constants != ["__main__"]
    return any(
        isinstance(n, ast.Attribute) and n.attr == "name" and getattr(n.value, "id", "") == "os"
        for n in ast.walk(test)
    )


def _never(program: Program, test: ast.expr) -> bool | None:
    """True where a condition is always false, False where it is always true, None where neither is seen."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _never(program, test.operand)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        parts = [_never(program, value) for value in test.values]
        decides = isinstance(test.op, ast.And)
        return decides if decides in parts else None
    if isinstance(test, ast.Constant):
        return not test.value
    if isinstance(test, ast.Name):
        found = program.module.bindings.get(test.id, [])
        if len(found) == 1 and found[0].how == "assigned":
            holder, _part = program.parents[found[0].node]
            if isinstance(holder, ast.Assign) and isinstance(holder.value, ast.Constant):
                return not holder.value.value
    return None


def _dead(node: ast.AST, part: str, child: ast.AST) -> Doubt | None:
    """Whether a statement before the one that holds the use, in the same block, never lets it be reached."""
    block = getattr(node, part, None)
    if not (isinstance(block, list) and isinstance(child, ast.stmt)):
        return None
    for statement in block:
        if statement is child:
            return None
        if _leaves([statement]):
            return Doubt(f"line {statement.lineno} leaves before it is reached")
        if isinstance(statement, ast.If) and _is_guard(statement.test) and _leaves(statement.body):
            return Doubt(SILENT)
    return None


def _leaves(block: Sequence[ast.stmt]) -> bool:
    """Whether a block never reaches its end."""
    if not block:
        return False
    last = block[-1]
    if isinstance(last, ast.Return | ast.Raise | ast.Break | ast.Continue):
        return True
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        function = last.value.func
        return getattr(function, "attr", getattr(function, "id", "")) in _LEAVING_CALLS
    if isinstance(last, ast.Assert):
        return isinstance(last.test, ast.Constant) and not last.test.value
    if isinstance(last, ast.If):
        return _leaves(last.body) and _leaves(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return _leaves(last.body)
    if isinstance(last, ast.Try | ast.TryStar):
        return _leaves(last.finalbody) or (
            _leaves(last.body) and all(_leaves(handler.body) for handler in last.handlers)
        )
    if isinstance(last, ast.While):
        always = isinstance(last.test, ast.Constant) and bool(last.test.value)
        return always and not any(isinstance(n, ast.Break) for n in ast.walk(last))
    return False


def _words(node: ast.AST) -> list[str]:
    """Every identifier that an expression mentions."""
    found = []
    for part in ast.walk(node):
        word = getattr(part, "id", None) or getattr(part, "attr", None)
        if isinstance(word, str):
            found.append(word)
    return found
