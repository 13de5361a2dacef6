"""One walk over a file's syntax tree that collects what its classes set and read on `self`.

Nothing is judged here: `attributes` does that. The walk keeps its own stack, so that deep nesting cannot
exhaust Python's, and visits each node a bounded number of times.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace

from agent_runner.validation.classes import (
    Binding,
    Class,
    Context,
    Method,
    Read,
    Scope,
    Setting,
    Source,
    mangled,
)
from agent_runner.validation.instance import (
    DOORS,
    HARMLESS,
    LOOKING,
    READING,
    REGISTERS,
    first_parameter,
)
from agent_runner.validation.syntax import (
    FunctionNode,
    assigned,
    beginning,
    catches_attribute_error,
    children,
    imported,
    last_name,
    literal,
    names_in,
    parameters,
)


def collect(path: str, tree: ast.Module) -> Source:
    """Walk a parsed file once and return what its classes set and read."""
    return _Walk(path).run(tree)


class _Walk:
    def __init__(self, path: str) -> None:
        self.found = Source(path)
        self.stack: list[tuple[ast.AST, Context]] = []
        self.called: set[int] = set()  # ids of the expressions that are called
        self.looked_at: set[int] = set()  # of those that are only looked at: `"x" in self.__dict__`
        self.handlers: dict[type[ast.AST], Callable[..., None]] = {
            ast.ClassDef: self.class_def,
            ast.FunctionDef: self.function,
            ast.AsyncFunctionDef: self.function,
            ast.Lambda: self.anonymous,
            ast.Try: self.attempt,
            ast.TryStar: self.attempt,
            ast.With: self.with_block,
            ast.AsyncWith: self.with_block,
            ast.Attribute: self.attribute,
            ast.AugAssign: self.augmented,
            ast.Assign: self.assign,
            ast.AnnAssign: self.annotated,
            ast.Call: self.call,
            ast.Name: self.name,
            ast.Import: self.imports,
            ast.ImportFrom: self.imports,
            ast.Global: self.global_names,
            ast.Nonlocal: self.global_names,
            ast.ExceptHandler: self.named,
            ast.MatchAs: self.named,
            ast.MatchStar: self.named,
            ast.Subscript: self.subscript,
        }

    def run(self, tree: ast.Module) -> Source:
        self.push(tree.body, Context(self.found.scope, {}))
        while self.stack:
            node, context = self.stack.pop()
            handler = self.handlers.get(type(node))
            if handler is not None:
                handler(node, context)
            else:
                self.children(node, context)
        return self.found

    def push(self, nodes: Sequence[ast.AST | None], context: Context) -> None:
        """Put nodes on the stack so that the first of them is visited first."""
        self.stack.extend((node, context) for node in reversed(nodes) if node is not None)

    def children(self, node: ast.AST, context: Context) -> None:
        harmless = isinstance(node, HARMLESS)
        if isinstance(node, ast.Compare):
            self.looked_at.update(map(id, node.comparators))
        waiting: list[ast.AST] = []
        for child in children(node):
            if harmless and isinstance(child, ast.Name) and child.id in context.selves:
                if not isinstance(child.ctx, ast.Load):
                    self.name(child, context)
                continue
            waiting.append(child)
        self.push(waiting, context)

    def class_def(self, node: ast.ClassDef, context: Context) -> None:
        body = Scope(context.scope)
        owner = body.owner = Class(node.name, node, context.scope, body, self.found)
        self.found.classes.append(owner)
        self.bind_name(node.name, context, Binding(owner=owner))
        self.push(node.decorator_list, context)
        for base in node.bases:
            if not isinstance(base, ast.Name | ast.Attribute):
                self.stack.append((base, context))
        inner = Context(body, context.selves, owner, guarded=context.guarded)
        self.push(node.body, inner)

    def function(self, node: FunctionNode, context: Context) -> None:
        scope = Scope(context.scope)
        arguments = node.args
        names = {a.arg for a in parameters(arguments)}
        own = names | assigned(node.body, context.selves.keys() - names)
        selves = {k: v for k, v in context.selves.items() if k not in own}
        method = context.method
        owner = context.body_of
        self.push(node.decorator_list, context)
        self.push(arguments.defaults, context)
        self.push(arguments.kw_defaults, context)
        self.bind_name(node.name, context, Binding())
        if owner is not None:
            first, doubt, on_class = first_parameter(node)
            method = Method(node.name, node.lineno, node, doubt, on_class=on_class)
            earlier = owner.methods.get(node.name)
            if earlier is not None and not node.decorator_list:
                earlier.replaced = True
            owner.methods[node.name] = method
            if first:
                selves[first] = (owner, method)
        if method is not None:
            for name in names:
                method.local_names.setdefault(name, node.lineno)
        for name in names:
            scope.bind(name, Binding())
        self.push(node.body, Context(scope, selves, None, method))

    def anonymous(self, node: ast.Lambda, context: Context) -> None:
        names = {a.arg for a in parameters(node.args)}
        self.push(node.args.defaults, context)
        self.push(node.args.kw_defaults, context)
        selves = {k: v for k, v in context.selves.items() if k not in names}
        scope = Scope(context.scope)
        for name in names:
            scope.bind(name, Binding())
        self.push([node.body], Context(scope, selves, None, context.method, context.guarded))

    def attempt(self, node: ast.Try | ast.TryStar, context: Context) -> None:
        self.push(node.finalbody, context)
        self.push(node.orelse, context)
        self.push(node.handlers, context)
        self.guarded(node, context)
        if any(h.type is not None and "AttributeError" in names_in(h.type) for h in node.handlers):
            self.found.catches = True

    def guarded(self, node: ast.Try | ast.TryStar | ast.With | ast.AsyncWith, at: Context) -> None:
        self.push(node.body, replace(at, guarded=at.guarded or catches_attribute_error(node)))

    def with_block(self, node: ast.With | ast.AsyncWith, context: Context) -> None:
        self.guarded(node, context)
        self.push(node.items, context)

    def attribute(self, node: ast.Attribute, context: Context) -> None:
        value = node.value
        owner, _ = self.self_of(value, context)
        name = mangled(node.attr, context.scope.class_around())
        if isinstance(node.ctx, ast.Load):
            self.found.mentioned.add(name)
            if context.guarded:
                self.found.guarded.add(name)
            else:
                self.read(node, name, value, context)
            if name in LOOKING:
                self.looked_at.add(id(value))
            shut = name == "__class__" or id(node) in self.looked_at
            if owner is not None and name in DOORS and not shut:
                owner.dynamic = True
        elif owner is not None:
            owner.set(name, Setting(node.lineno, context.scope))
            owner.dynamic |= name in DOORS
        else:
            self.found.stored.add(name)
            self.found.dynamic |= name in DOORS
        if not isinstance(value, ast.Name):
            self.stack.append((value, context))
        elif owner is None:
            self.found.mentioned.add(value.id)

    def read(
        self, node: ast.Attribute, name: str, value: ast.expr, context: Context, through: str = ""
    ) -> None:
        """Record `self.name`, and `self.through.name`."""
        owner, method = self.self_of(value, context)
        if owner is not None and method is not None:
            called = id(node) in self.called
            owner.reads.append(Read(name, node.lineno, method, through, called))
        elif isinstance(value, ast.Attribute) and not through:
            through = mangled(value.attr, context.scope.class_around())
            self.read(node, name, value.value, context, through)

    def self_of(
        self, value: ast.expr, context: Context
    ) -> tuple[Class, Method] | tuple[None, None]:
        if isinstance(value, ast.Name):
            return context.selves.get(value.id, (None, None))
        return None, None

    def augmented(self, node: ast.AugAssign, context: Context) -> None:
        target = node.target
        owner = None
        if isinstance(target, ast.Attribute):
            owner, method = self.self_of(target.value, context)
            if owner is not None and method is not None:
                name = mangled(target.attr, context.scope.class_around())
                owner.set(name, Setting(target.lineno, context.scope, "+="))
                if context.guarded:
                    self.found.guarded.add(name)
                else:
                    owner.reads.append(Read(name, target.lineno, method))
        if owner is None:
            self.stack.append((target, context))
        self.stack.append((node.value, context))

    def assign(self, node: ast.Assign, context: Context) -> None:
        for target in node.targets:
            self.target(target, node.value, context)
        self.stack.append((node.value, context))

    def annotated(self, node: ast.AnnAssign, context: Context) -> None:
        if node.value is not None:
            self.target(node.target, node.value, context)
            self.stack.append((node.value, context))
        elif not isinstance(node.target, ast.Attribute):
            self.stack.append((node.target, context))

    def target(self, target: ast.expr, value: ast.expr, context: Context) -> None:
        if isinstance(target, ast.Name):
            self.bind(target, context, Binding(value=value))
            return
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            owner, _ = self.self_of(target.value, context)
            if owner is not None and target.attr not in DOORS:
                name = mangled(target.attr, context.scope.class_around())
                owner.set(name, Setting(target.lineno, context.scope, "", value, target.value.id))
                return
        self.stack.append((target, context))

    def subscript(self, node: ast.Subscript, context: Context) -> None:
        stores = not isinstance(node.ctx, ast.Load)
        if stores and isinstance(node.value, ast.Call):
            function = node.value.func
            if isinstance(function, ast.Name) and function.id in ("vars", "locals", "globals"):
                self.found.dynamic = True
        if stores and isinstance(node.value, ast.Attribute) and node.value.attr in DOORS:
            self.sets(None, node.slice, Setting(node.lineno, context.scope))
        self.children(node, context)

    def call(self, node: ast.Call, context: Context) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            self.found.called[function.id].append(context.scope)
            self.builtin(function.id, node, context)
        else:
            self.stack.append((function, context))
            if isinstance(function, ast.Attribute):
                self.called.add(id(function))
                self.method_call(function, node, context)
        named = last_name(function)
        reading = isinstance(function, ast.Name) and named in READING
        asking = reading and named in ("isinstance", "issubclass", "super")
        understood = named in REGISTERS or named in ("setattr", "getattr", "hasattr", "delattr")
        for argument in [*node.args, *(k.value for k in node.keywords)]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                if not understood:
                    self.found.strings.add(argument.value)
            elif isinstance(argument, ast.Name) and argument.id in context.selves:
                if not reading:
                    owner = context.selves[argument.id][0]
                    owner.escapes.append((function, context.scope))
            elif not (asking and isinstance(argument, ast.Name)):
                self.stack.append((argument, context))

    def builtin(self, name: str, node: ast.Call, context: Context) -> None:
        """`setattr`, `getattr`, `hasattr`, `vars`, `dir`, `exec` and what they do to attributes."""
        self.found.dynamic |= name == "exec"
        if not node.args:
            return
        owner, method = self.self_of(node.args[0], context)
        second = node.args[1] if len(node.args) > 1 else None
        key = literal(second)
        if name in ("setattr", "delattr"):
            self.sets(owner, second, Setting(node.lineno, context.scope, name))
        elif name in ("hasattr", "getattr"):
            if key is not None:
                self.found.mentioned.add(key)
                if name == "hasattr" or len(node.args) > 2:
                    self.found.asked.add(key)
                    if owner is not None and method is not None:
                        owner.asks.append(Read(key, node.lineno, method))
            if method is not None and owner is not None:
                method.doubt = method.doubt or f"line {node.lineno} asks which attributes there are"
        elif name in ("vars", "dir") and owner is not None:
            owner.dynamic = True
        elif name in ("isinstance", "issubclass") and method is not None:
            method.doubt = (
                method.doubt or f"the method asks for the type of `self` (line {node.lineno})"
            )

    def method_call(self, function: ast.Attribute, node: ast.Call, context: Context) -> None:
        """`self.register_buffer("x", ...)`, `object.__setattr__(self, "x", ...)` and their like."""
        name = function.attr
        if name in REGISTERS:
            owner, _ = self.self_of(function.value, context)
            named = next((k.value for k in node.keywords if k.arg == "name"), None)
            given = node.args[0] if node.args else named
            if given is not None:
                self.sets(owner, given, Setting(node.lineno, context.scope, name))
        elif name in ("__setattr__", "__delattr__") and node.args:
            owner, _ = self.self_of(node.args[0], context)
            at = 1
            if owner is None:  # self.__setattr__("x", v), super().__setattr__("x", v)
                owner, _ = self.self_of(function.value, context)
                at = 0
            if owner is None and isinstance(function.value, ast.Call):
                owner = context.scope.class_around()
            key = node.args[at] if len(node.args) > at else None
            self.sets(owner, key, Setting(node.lineno, context.scope, name))

    def sets(self, owner: Class | None, key: ast.expr | None, setting: Setting) -> None:
        name, start = literal(key), beginning(key)
        held = self.found if owner is None else owner
        if name is None:
            held.beginnings |= {start} if start else set()
            held.dynamic |= not start
        elif owner is not None:
            owner.set(name, setting)
        else:
            self.found.stored.add(name)

    def name(self, node: ast.Name, context: Context) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bind(node, context, Binding())
            return
        if node.id in context.selves:
            context.selves[node.id][0].escapes.append((None, context.scope))
        self.found.mentioned.add(node.id)
        self.found.handed[node.id].append(context.scope)
        if node.id in ("setattr", "exec"):
            self.found.dynamic = True

    def bind(self, node: ast.Name, context: Context, binding: Binding) -> None:
        self.bind_name(node.id, context, binding)
        if node.id in context.selves:
            context.selves[node.id][1].rebound = True
        elif context.method is not None:
            context.method.local_names.setdefault(node.id, node.lineno)

    def bind_name(self, name: str, context: Context, binding: Binding) -> None:
        context.scope.bind(name, binding)
        real = mangled(name, context.scope.owner)
        if real != name:
            context.scope.bind(real, binding)

    def named(
        self, node: ast.ExceptHandler | ast.MatchAs | ast.MatchStar, context: Context
    ) -> None:
        if node.name:
            context.scope.bind(node.name, Binding())
        if isinstance(node, ast.ExceptHandler):
            self.push(node.body, context)
        else:
            self.children(node, context)

    def imports(self, node: ast.Import | ast.ImportFrom, context: Context) -> None:
        for name, dotted in imported(node):
            if name == "*":
                self.found.starred = True
            else:
                context.scope.bind(name, Binding(imported=dotted))

    def global_names(self, node: ast.Global | ast.Nonlocal, context: Context) -> None:
        self.found.rebound.update(node.names)
