"""Which parameter of a method stands for the instance, and which uses leave an object as it is."""

from __future__ import annotations

import ast

from agent_runner.validation.syntax import FunctionNode, last_name

# Calls that do nothing to an object that is passed to them bare.
_READING_NAMES = """
super isinstance issubclass type id repr str len hash iter next print bool list tuple set
frozenset dict sorted enumerate sum min max any all zip map filter reversed int float format
callable dir hasattr getattr setattr delattr vars abs bytes
"""
READING = frozenset(_READING_NAMES.split())
# Statements and operators that use `self` as a value and leave it as it is.
HARMLESS = (
    ast.Return | ast.Yield | ast.Compare | ast.Subscript | ast.FormattedValue | ast.For
    | ast.AsyncFor | ast.comprehension | ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.If | ast.IfExp
    | ast.While | ast.withitem | ast.Assert | ast.Starred | ast.YieldFrom | ast.Await | ast.Raise
)  # fmt: skip
# `self.register_buffer("x", ...)` sets `x`.
REGISTERS = frozenset({"register_buffer", "register_parameter", "add_module", "register_module"})
# Touching one of these on `self` can set any attribute ...
DOORS = frozenset({"__dict__", "__class__", "_parameters", "_buffers", "_modules", "__setstate__"})
# ... but not by these.
LOOKING = frozenset({"items", "keys", "values", "copy", "get"})
# Decorators under which the first parameter is still the instance.
_KEEPING_NAMES = """
property cached_property abstractmethod abstractproperty no_grad inference_mode enable_grad
contextmanager asynccontextmanager lru_cache cache override final setter getter deleter wraps
autocast singledispatchmethod jit compile ignore export unused disable typechecked jaxtyped
deprecated profile timeit overload custom_fwd custom_bwd
"""
_KEEPING = frozenset(_KEEPING_NAMES.split())
_CLASS_METHODS = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})


def first_parameter(node: FunctionNode) -> tuple[str, str, bool]:
    """The name that stands for the instance ("" where none does), a doubt about it, and: is it the class?"""
    positional = [*node.args.posonlyargs, *node.args.args]
    decorators = [last_name(d) for d in node.decorator_list]
    if "staticmethod" in decorators or not positional:
        return "", "", False
    first = positional[0].arg
    on_class = "classmethod" in decorators or node.name in _CLASS_METHODS
    unknown = [d for d in decorators if d not in _KEEPING and d != "classmethod"]
    doubt = f"the decorator {unknown[0] or '?'} of the method is not known here" if unknown else ""
    if not doubt and not on_class and first in ("cls", "mcs", "klass"):
        doubt = f"the first parameter is called {first}"
    if node.name == "__del__":
        doubt = "what is raised in __del__ is printed and ignored"
    return first, doubt, on_class
