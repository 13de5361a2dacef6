"""Where an argparse parser and the result of its `parse_args` go within one file.

A value is followed forward from `ArgumentParser(...)`: into variables that are bound once, into functions of
the file that it is passed to, and out of functions that return it. What cannot be followed is recorded as
such, so that nothing is claimed about it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

from agent_runner.validation.file_index import FileIndex
from agent_runner.validation.syntax import FunctionNode, last_name, literal

Kind = Literal["parser", "result", "pair"]  # "pair" is what parse_known_args returns

_GROUPS = frozenset({"add_argument_group", "add_mutually_exclusive_group"})
_PARSES = frozenset({"parse_args", "parse_intermixed_args"})
_PARSES_KNOWN = frozenset({"parse_known_args", "parse_known_intermixed_args"})
# What else may be done with a parser without changing what it defines.
_PARSER_READS_NAMES = """
print_help print_usage format_help format_usage error exit get_default prog description epilog
usage formatter_class
"""
_PARSER_READS = frozenset(_PARSER_READS_NAMES.split())
# Calls that read a value and leave it as it is.
_SHOWING_NAMES = """
print pprint str repr len id type isinstance info debug warning log dump dumps format dict
deepcopy sorted
"""
_SHOWING = frozenset(_SHOWING_NAMES.split())
# Where a value is looked at and goes no further.
_ENDS = ast.FormattedValue | ast.Expr | ast.Compare | ast.If | ast.While | ast.Assert | ast.UnaryOp


@dataclass(eq=False)
class Parser:
    """One `ArgumentParser(...)` and what was seen of it and of its results."""

    call: ast.Call
    name: str = "parser"  # of the variable
    defined: dict[str, int] = field(default_factory=dict)  # attribute -> line of its definition
    short: dict[str, str] = field(default_factory=dict)  # `n` of "-n" -> the attribute it sets
    last_line: int = 0  # of its last add_argument
    reads: list[ast.Attribute] = field(default_factory=list)
    results: int = 0  # parse_args calls
    unknown: str = ""  # why it may define more than was seen
    shared: str = ""  # why others may add to its results
    listed: bool = False  # its values are read all at once: vars(args), print(args)


class Flow:
    """Follow every parser of a file to its end."""

    def __init__(self, index: FileIndex) -> None:
        self.index = index
        self.parsers: list[Parser] = []
        self._waiting: list[tuple[ast.expr, Parser, Kind]] = []
        self._seen: set[tuple[int, int, str]] = set()
        self._passed: dict[tuple[FunctionNode, str], list[Parser]] = {}
        self._entered: set[tuple[FunctionNode, str]] = set()
        for call in index.calls:
            if index.is_imported(call.func, "argparse", "ArgumentParser"):
                parser = Parser(call, last_line=call.lineno)
                if any(k.arg in ("parents", "prefix_chars", None) for k in call.keywords):
                    parser.unknown = "it is built on others"
                self.parsers.append(parser)
                self._add(call, parser, "parser")
        self._run()

    def _add(self, node: ast.expr, parser: Parser, kind: Kind) -> None:
        key = (id(node), id(parser), kind)
        if key not in self._seen:
            self._seen.add(key)
            self._waiting.append((node, parser, kind))

    def _run(self) -> None:
        while self._waiting:
            while self._waiting:
                self._step(*self._waiting.pop())
            self._enter_functions()
        for key, parsers in self._passed.items():
            if key not in self._entered:
                for parser in parsers:
                    parser.shared = f"{key[0].name}() is called with other values too"

    def _lost(self, parser: Parser, kind: Kind, why: str) -> None:
        if kind == "parser":
            parser.unknown = parser.unknown or why
        else:
            parser.shared = parser.shared or why

    # ---- one step

    def _step(self, node: ast.expr, parser: Parser, kind: Kind) -> None:
        parent = self.index.parents[node]
        if isinstance(parent, ast.Attribute):
            self._attribute(parent, parser, kind)
        elif isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            self._assigned(parent, parser, kind)
        elif isinstance(parent, ast.Return):
            self._returned(parent, parser, kind)
        elif isinstance(parent, ast.Call):
            self._passed_to(node, parent, parser, kind)
        elif isinstance(parent, ast.keyword):
            call = self.index.parents[parent]
            if isinstance(call, ast.Call) and parent.arg:
                self._passed_to(node, call, parser, kind, parent.arg)
            else:
                self._lost(parser, kind, "it is passed on")
        elif isinstance(parent, ast.Subscript) and kind == "pair":
            if isinstance(parent.slice, ast.Constant) and parent.slice.value == 0:
                self._add(parent, parser, "result")
        elif isinstance(parent, _ENDS):
            parser.listed |= isinstance(parent, ast.FormattedValue)
        else:
            self._lost(parser, kind, f"it is used at line {node.lineno} in a way not followed here")

    def _attribute(self, node: ast.Attribute, parser: Parser, kind: Kind) -> None:
        call = self.index.parents[node]
        called = call if isinstance(call, ast.Call) and call.func is node else None
        if kind == "result":
            if node.attr == "__dict__":
                parser.unknown = "the result's __dict__ is used"
            elif isinstance(node.ctx, ast.Load):
                parser.reads.append(node)
        elif kind == "parser":
            if called is not None:
                self._parser_call(node.attr, called, parser)
            elif node.attr not in _PARSER_READS:
                parser.unknown = f"`.{node.attr}` is taken at line {node.lineno}"

    def _parser_call(self, name: str, call: ast.Call, parser: Parser) -> None:
        if name == "add_argument":
            self._define(call, parser)
        elif name in _GROUPS:
            self._add(call, parser, "parser")
        elif name == "set_defaults":
            for keyword in call.keywords:
                if keyword.arg is None:
                    parser.unknown = "set_defaults is given names made at run time"
                else:
                    parser.defined.setdefault(keyword.arg, call.lineno)
        elif name in _PARSES or name in _PARSES_KNOWN:
            if len(call.args) > 1 or any(k.arg in ("namespace", None) for k in call.keywords):
                parser.unknown = "a namespace is passed to it"
            parser.results += 1
            self._add(call, parser, "result" if name in _PARSES else "pair")
        elif name not in _PARSER_READS:
            parser.unknown = f"`.{name}()` is called at line {call.lineno}"

    def _define(self, call: ast.Call, parser: Parser) -> None:
        """Note what one add_argument call defines."""
        parser.last_line = max(parser.last_line, call.end_lineno or call.lineno)
        name = destination(call)
        if name is None:
            parser.unknown = f"the name of the argument of line {call.lineno} is made at run time"
        else:
            parser.defined.setdefault(name, call.lineno)
            for option in filter(None, map(literal, call.args)):
                if option.startswith("-") and not option.startswith("--"):
                    parser.short.setdefault(option[1:], name)

    def _assigned(
        self, parent: ast.Assign | ast.AnnAssign | ast.NamedExpr, parser: Parser, kind: Kind
    ) -> None:
        targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
        for target in targets:
            if kind == "pair" and isinstance(target, ast.Tuple) and len(target.elts) == 2:
                self._variable(target.elts[0], parser, "result")
            elif kind == "pair" and not isinstance(target, ast.Name):
                parser.unknown = "what parse_known_args returns is not followed"
            else:
                self._variable(target, parser, kind)
        if isinstance(parent, ast.NamedExpr):
            self._add(parent, parser, kind)

    def _variable(self, target: ast.expr, parser: Parser, kind: Kind) -> None:
        """Follow a variable that is bound once, and `self.x`; any other target is out of sight."""
        uses = None
        if isinstance(target, ast.Attribute) and kind == "result":
            uses = self.index.uses_on_self(target)
        if uses is not None:
            own, others = uses
            for attribute in own:
                self._add(attribute, parser, kind)
            if others:
                self._lost(parser, kind, f"line {others[0].lineno} may read it from another object")
            return
        if not isinstance(target, ast.Name):
            self._lost(parser, kind, f"it is kept in something else at line {target.lineno}")
            return
        owner = self.index.sole(target)
        if owner is None:
            parser.unknown = parser.unknown or f"`{target.id}` is bound more than once"
            return
        if kind == "parser" and parser.name == "parser":
            parser.name = target.id
        for use in self.index.uses_of(target.id, owner):
            self._add(use, parser, kind)

    # ---- functions

    def _returned(self, parent: ast.Return, parser: Parser, kind: Kind) -> None:
        function = self.index.scopes[parent].node
        callers = self.index.callers(function) if isinstance(function, FunctionNode) else None
        if callers is None or len(self.index.returns[function]) != 1:
            self._lost(parser, kind, "a function returns it that is not followed")
            return
        for call in callers:
            self._add(call, parser, kind)

    def _passed_to(
        self, node: ast.expr, call: ast.Call, parser: Parser, kind: Kind, keyword: str = ""
    ) -> None:
        if call.func is node:
            self._lost(parser, kind, "it is called")
            return
        name = _called(call)
        if kind == "result" and self._attribute_function(name, call, parser):
            return
        if name in _SHOWING:
            parser.listed = True
            return
        function = self.index.function_called(call)
        parameter = None
        if function is not None:
            is_method = self.index.class_of(function) is not None
            parameter = _parameter(function, node, call, keyword, is_method)
        if function is None or parameter is None or function.decorator_list or kind == "pair":
            self._lost(parser, kind, f"{name or 'a call'}() is given it at line {call.lineno}")
            return
        if kind == "parser":  # what the function adds counts, whoever else calls it
            scope = self.index.functions[function]
            if len(scope.values[parameter]) != 1:
                parser.unknown = f"{function.name}() binds `{parameter}` anew"
            if len(self.index.callers(function) or ()) != 1:
                parser.shared = f"{function.name}() is called more than once"
            for use in self.index.uses_of(parameter, scope):
                self._add(use, parser, kind)
        else:
            self._passed.setdefault((function, parameter), []).append(parser)

    def _attribute_function(self, name: str, call: ast.Call, parser: Parser) -> bool:
        """`hasattr(args, "x")`, `setattr`, `vars(args)`: True where the call is one of these."""
        if name not in ("hasattr", "getattr", "setattr", "delattr", "vars"):
            return False
        key = call.args[1] if len(call.args) > 1 else None
        if name == "vars":
            parser.listed = True
            if not self._only_shown(call):
                parser.unknown = parser.unknown or "vars() of the result is kept"
        elif isinstance(key, ast.Constant) and isinstance(key.value, str):
            parser.defined.setdefault(key.value, call.lineno)
        elif name == "setattr":
            parser.unknown = parser.unknown or "attributes are set under names made at run time"
        else:
            parser.listed = True
        return True

    def _only_shown(self, call: ast.Call) -> bool:
        """Say whether `vars(args)` is printed, saved or spread, and no name is kept for it."""
        parent = self.index.parents[call]
        if isinstance(parent, ast.keyword):
            return parent.arg is None or _called(self.index.parents[parent]) in _SHOWING
        if isinstance(parent, ast.Attribute):
            return parent.attr in ("items", "keys", "values", "copy")
        if isinstance(parent, ast.Subscript):
            return isinstance(parent.ctx, ast.Load)
        return isinstance(parent, ast.FormattedValue | ast.Dict) or _called(parent) in _SHOWING

    def _enter_functions(self) -> None:
        """Follow a result into a function's parameter, where every call of the function passes it."""
        for (function, name), parsers in self._passed.items():
            if (function, name) in self._entered:
                continue
            callers = self.index.callers(function)
            scope = self.index.functions[function]
            if callers is None or len(parsers) != len(callers) or len(scope.values[name]) != 1:
                continue
            if len({id(p) for p in parsers}) != 1:
                continue
            self._entered.add((function, name))
            for use in self.index.uses_of(name, scope):
                self._add(use, parsers[0], "result")


def destination(call: ast.Call) -> str | None:
    """The attribute that an add_argument call defines; None where it is not written out."""
    if any(k.arg is None for k in call.keywords):
        return None
    options = {k.arg: k.value for k in call.keywords}
    if "dest" in options:
        return literal(options["dest"])
    action = options.get("action")
    if action is not None and not _is_plain(action):
        return None  # an action of one's own may set anything
    names = [name for name in map(literal, call.args) if name is not None]
    if not names or len(names) != len(call.args):
        return None
    if not names[0].startswith("-"):
        return names[0]
    chosen = next((n for n in names if n.startswith("--")), names[0])
    return chosen.lstrip("-").replace("-", "_")


def _is_plain(action: ast.expr) -> bool:
    if isinstance(action, ast.Constant):
        return True
    return isinstance(action, ast.Attribute) and action.attr == "BooleanOptionalAction"


def _called(node: ast.AST) -> str:
    """The last part of the name that is called; "" for what is no call of a name."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def _parameter(
    function: FunctionNode, node: ast.expr, call: ast.Call, keyword: str, is_method: bool
) -> str | None:
    """The name of the parameter that receives an argument of a call; None where that is not certain."""
    arguments = function.args
    if any(isinstance(a, ast.Starred) for a in call.args) or any(
        k.arg is None for k in call.keywords
    ):
        return None
    if keyword:
        named = [a.arg for a in [*arguments.args, *arguments.kwonlyargs]]
        return keyword if keyword in named else None
    positional = [*arguments.posonlyargs, *arguments.args][is_method:]
    at = next(i for i, a in enumerate(call.args) if a is node)
    return positional[at].arg if at < len(positional) else None
