"""A torch module that is given layers before `super().__init__()`, or without it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from agent_runner.records import Problem
from agent_runner.validation.classes import Class, Setting
from agent_runner.validation.known_bases import KNOWN, MODULE
from agent_runner.validation.lineage import Program, parsed
from agent_runner.validation.syntax import last_name


def check_super(
    name: str, text: str, modules: Mapping[str, str], before: str | None = None
) -> list[Problem]:
    """One error (`attribute_error`) for each torch module of the file that certainly raises when it is created.

    `nn.Module.__setattr__` refuses layers and parameters until `nn.Module.__init__` has run. What the text
    `before` the edit (the template's) shows too is not the edit's.
    """
    found = list(_faults(name, text, modules))
    old = {owner.name for owner, _, _ in _faults(name, before or "", modules)} if found else set()
    return [_problem(name, *fault) for fault in found if fault[0].name not in old]


def _faults(
    name: str, text: str, modules: Mapping[str, str]
) -> Iterator[tuple[Class, Setting, int]]:
    """The class, its first layer, and the line of the call that comes too late (0 for none)."""
    source = parsed(name, text) if "Module" in text else None
    if source is None:
        return
    program = Program(source, modules)
    for owner in source.classes:
        method = owner.methods.get("__init__")
        bases = [program.resolve(base, owner.scope, source) for base in owner.node.bases]
        is_module = bool(bases) and all(
            isinstance(b, str) and KNOWN.get(b) is MODULE for b in bases
        )
        if method is None or not is_module or "__setattr__" in owner.body.bindings:
            continue
        if owner.name not in source.called or owner.escapes or method.node.decorator_list:
            continue
        calls = [
            node.lineno
            for node in ast.walk(method.node)
            if isinstance(node, ast.Name | ast.Attribute)
            and last_name(node) in ("super", "__init__")
        ]
        called = min(calls, default=0)
        layers = [
            setting
            for settings in owner.settings.values()
            for setting in settings
            if method.line <= setting.line <= (method.node.end_lineno or 0)
            and setting.scope.parent is owner.body  # and not in a function within
            and (not called or setting.line < called)
            and _is_layer(program, setting, owner)
        ]
        if layers:
            yield owner, min(layers, key=lambda s: s.line), called


def _is_layer(program: Program, setting: Setting, owner: Class) -> bool:
    """Say whether `self.x = nn.Linear(...)`, or another class of torch.nn."""
    if setting.how or not isinstance(setting.value, ast.Call):
        return False
    resolved = program.resolve(setting.value.func, setting.scope, owner.source)
    if not isinstance(resolved, str) or not resolved.startswith("torch.nn."):
        return False
    return resolved.count(".") == 2 and resolved.rpartition(".")[2][:1].isupper()


def _problem(path: str, owner: Class, layer: Setting, called: int) -> Problem:
    late = f", which stands in line {called}" if called else ""
    advice = (
        f"Move line {called} above it."
        if called
        else f"Make `super().__init__()` the first line of {owner.name}.__init__."
    )
    return Problem(
        kind="attribute_error",
        path=path,
        line=layer.line,
        message=f"{path}:{layer.line}: {owner.name} is given a layer before `super().__init__()`{late}: this "
        f"line will raise AttributeError, as a torch module takes layers only after that call. {advice}",
    )
