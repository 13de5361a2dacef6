from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import Problem
from agent_runner.validation import known_bases
from agent_runner.validation.attributes import check_asked, check_attributes

TEMPLATE = Path(__file__).resolve().parents[2] / "templates"


def check(text: str, modules: dict[str, str] | None = None) -> list[Problem]:
    return check_attributes("experiment.py", textwrap.dedent(text), modules or {})


def found(text: str, modules: dict[str, str] | None = None) -> list[tuple[str, str, int | None]]:
    """(severity, the expression that is told of, line) of each problem."""
    return [(p.severity, p.message.split("`")[1], p.line) for p in check(text, modules)]


def template() -> tuple[str, dict[str, str]]:
    files = sorted((TEMPLATE / "harness").glob("*.py"))
    modules = {f"harness/{p.name}": p.read_text() for p in files}
    return (TEMPLATE / "experiment.py").read_text(), modules


def edited(*edits: tuple[str, str]) -> tuple[str, dict[str, str]]:
    text, modules = template()
    for old, new in edits:
        assert old in text, f"the template no longer has {old!r}"
        text = text.replace(old, new, 1)
    return text, modules


# ---------------------------------------------------------------- the template


def test_the_template_has_no_fault() -> None:
    text, modules = template()
    assert check_attributes("experiment.py", text, modules) == []
    for name, module in modules.items():
        assert check_attributes(name, module, {**modules, "experiment.py": text}) == []


def test_a_buffer_of_the_sae_that_the_trainer_reads_as_its_own() -> None:
    text, modules = edited(
        (
            "        self.reset_parameters()\n",
            '        self.register_buffer("ema_act", torch.zeros(d_sae))\n        self.reset_parameters()\n',
        ),
        (
            "        loss = l2_loss +",
            "        dead = self.ema_act < 1e-3\n        loss = l2_loss +",
        ),
    )
    (problem,) = check_attributes("experiment.py", text, modules)
    line = text[: text.index("dead = self.ema_act")].count("\n") + 1
    where = text[: text.index("self.register_buffer")].count("\n") + 1
    assert (problem.kind, problem.severity) == ("attribute_error", "error")
    assert (problem.path, problem.line) == ("experiment.py", line)
    assert problem.message == (
        f"experiment.py:{line}: `self.ema_act` is read in CustomTrainer.loss, but nothing sets it on "
        "CustomTrainer or its base SAETrainer: this line will raise AttributeError. It is set on CustomSAE "
        f"(line {where}, register_buffer), which CustomTrainer holds as `self.ae`: write `self.ae.ema_act`."
    )


@pytest.mark.parametrize(
    ("old", "new", "shown", "advice"),
    [
        ("self.scheduler = ", "scheduler = ", "self.scheduler", "write `self.scheduler = scheduler`"),
        ("self.ae.activation_dim,", "self.ae.activation_dims,", "self.ae.activation_dims", "Did you mean"),
        ("        self.steps_since_active = None\n        if resample_steps is not None:\n"
         "            self.steps_since_active = ", "        if resample_steps is not None:\n            _ = ",
         "self.steps_since_active", "= ...` in CustomTrainer.__init__ first"),
        ("self.initialize_biases(activations)", "self.initialise_biases(activations)",
         "self.initialise_biases", "Did you mean `self.initialize_biases`?"),
        ("self.constrained_params = ", "self.parameters = ", "self.constrained_params",
         "`constrained_params` is an argument of ConstrainedAdam.__init__"),
        ("self.W_enc = nn", "self.W_ecn = nn", "self.W_enc", "Did you mean `self.W_ecn`?"),
        ("self.seed = seed", "pass", "self.seed", "write `self.seed = seed` there"),
    ],
)  # fmt: skip
def test_one_slip_in_the_template_is_an_error(old: str, new: str, shown: str, advice: str) -> None:
    text, modules = edited((old, new))
    problems = check_attributes("experiment.py", text, modules)
    errors = [p for p in problems if f"`{shown}`" in p.message.split(": ")[1]]
    assert [p.severity for p in errors] == ["error"], problems
    assert advice in errors[0].message
    assert all(p.severity == "error" for p in problems)


# ---------------------------------------------------------------- faulty programs

HEAD = "import torch\nfrom torch import nn\n"

FAULTY = {
    "never set": ("class A:\n    def run(self):\n        return self.x\nA().run()", "self.x", 3),
    "method that does not exist": (
        "class A:\n    def run(self):\n        return self.stpe()\n    def step(self): ...\nA().run()",
        "self.stpe",
        3,
    ),
    "only updated": (
        "class A:\n    def run(self):\n        self.n += 1\nA().run()",
        "self.n",
        3,
    ),
    "set from itself": (
        "class A:\n    def run(self):\n        self.ema = 0.9 * self.ema + 0.1\nA().run()",
        "self.ema",
        3,
    ),
    "module": (
        HEAD + "class M(nn.Module):\n    def forward(self, x):\n        return x.to(self.device)\nM()",
        "self.device",
        5,
    ),
    "module by its full name": (
        "import torch\nclass M(torch.nn.Module):\n    def forward(self, x):\n        return self.w\nM()",
        "self.w",
        4,
    ),
    "alias of a base": (
        HEAD + "Base = nn.Module\nclass M(Base):\n    def forward(self, x):\n        return self.w\nM()",
        "self.w",
        6,
    ),
    "dataset": (
        "from torch.utils.data import Dataset\nclass D(Dataset):\n    def __len__(self):\n"
        "        return len(self.rows)\nlen(D())",
        "self.rows",
        4,
    ),
    "in a nested function": (
        "class A:\n    def run(self):\n        def inner():\n            return self.x\n"
        "        return inner()\nA().run()",
        "self.x",
        4,
    ),
    "in a lambda": ("class A:\n    def run(self):\n        return lambda: self.x\nA().run()", "self.x", 3),
    "in a comprehension": (
        "class A:\n    def run(self):\n        return [self.x for _ in range(3)]\nA().run()",
        "self.x",
        3,
    ),
    "first parameter of another name": (
        "class A:\n    def run(this):\n        return this.x\nA().run()",
        "this.x",
        3,
    ),
    "on the class": (
        "class A:\n    @classmethod\n    def make(cls):\n        return cls.count\nA().make()",
        "cls.count",
        4,
    ),
    "base of the file": (
        "class B:\n    def __init__(self):\n        self.y = 1\n"
        "class A(B):\n    def run(self):\n        return self.x + self.y\nA().run()",
        "self.x",
        6,
    ),
    "read in a base, set in no subclass": (
        "class B:\n    def run(self):\n        return self.x\nclass A(B): ...\nA().run()",
        "self.x",
        3,
    ),
    "generic": (
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]):\n"
        "    def run(self):\n        return self.x\nA().run()",
        "self.x",
        5,
    ),
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    y: int = 0\n"
        "    def run(self):\n        return self.x + self.y\nA().run()",
        "self.x",
        6,
    ),
    "exception": (
        "class E(ValueError):\n    def __str__(self):\n        return self.message\nraise E()",
        "self.message",
        3,
    ),
    "built-in class": (
        "class D(dict):\n    def run(self):\n        return self.items(), self.x\nD().run()",
        "self.x",
        3,
    ),
    "private name of the base": (
        "class B:\n    def __init__(self):\n        self.__x = 1\n"
        "class A(B):\n    def run(self):\n        return self.__x\nA().run()",
        "self.__x",
        6,
    ),
    "class within a function": (
        "def main():\n    class A:\n        def run(self):\n            return self.x\n    A().run()\nmain()",
        "self.x",
        4,
    ),
    "property": (
        "class A:\n    @property\n    def both(self):\n        return self.x\nprint(A().both)",
        "self.x",
        4,
    ),
    "held object": (
        "class B:\n    def __init__(self):\n        self.y = 1\n"
        "class A:\n    def __init__(self):\n        self.b = B()\n    def run(self):\n"
        "        return self.b.why\nA().run()",
        "self.b.why",
        8,
    ),
    "set on another class": (
        "class B:\n    def __init__(self):\n        self.x = 1\n"
        "class A:\n    def run(self):\n        return self.x\nA().run(); B()",
        "self.x",
        6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_a_certain_fault_is_an_error(name: str) -> None:
    text, shown, line = FAULTY[name]
    assert found(text) == [("error", shown, line)]


def test_imported_base_is_looked_up_in_the_modules() -> None:
    modules = {
        "harness/base.py": "class Base:\n    def __init__(self):\n        self.lr = 1\n",
        "harness/__init__.py": "from harness.base import Base\n",
    }
    body = "    def run(self):\n        return self.lr, self.rl\nA().run()\n"
    for head in (
        "from harness.base import Base\nclass A(Base):\n",
        "from harness import Base\nclass A(Base):\n",
        "import harness.base\nclass A(harness.base.Base):\n",
        "import harness.base as b\nclass A(b.Base):\n",
        "from harness import base\nclass A(base.Base):\n",
    ):
        assert found(head + body, modules) == [("error", "self.rl", 4)], head
        assert found(head + body) == []  # a base that is not known may set anything


def test_relative_import_within_the_modules() -> None:
    modules = {
        "harness/a.py": "class Root:\n    def __init__(self):\n        self.lr = 1\n",
        "harness/b.py": "from .a import Root\nclass Base(Root): ...\n",
    }
    text = (
        "from harness.b import Base\nclass A(Base):\n    def run(self):\n"
        "        return self.lr + self.z\nA().run()"
    )
    assert found(text, modules) == [("error", "self.z", 4)]


def test_all_lines_are_named_in_one_problem() -> None:
    (problem,) = check(
        """
        class A:
            def run(self):
                self.x
                self.x
            def again(self):
                return self.x
        A().run()
        A().again()
        """
    )
    assert problem.line == 4
    assert "It is also read at lines 5, 7." in problem.message


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (
            "x_hat = 1\n        return self.x_hat",
            "`x_hat` is a local variable of run itself (line 3)",
        ),
        (
            "return self.theta\n    def __init__(self, theta): ...",
            "write `self.theta = theta` there",
        ),
        ("self.n += 1", "Set `self.n = ...` in A.__init__ first"),
        ("return self.forwrad\n    def forward(self): ...", "Did you mean `self.forward`?"),
        ("return self.qqq", "Set it in A.__init__, or correct the name."),
    ],
)
def test_the_message_says_what_to_change(body: str, advice: str) -> None:
    (problem,) = check(f"class A:\n    def run(self):\n        {body}\nA(1).run()")
    assert advice in problem.message


def test_object_that_is_passed_in_is_recognised_by_what_is_read_of_it() -> None:
    (problem,) = check(
        """
        class Dictionary:
            def __init__(self):
                self.centres, self.ema = [], []
        class Trainer:
            def __init__(self, model):
                self.model = model
            def step(self):
                return self.model.centres, self.ema
        Trainer(Dictionary()).step()
        """
    )
    assert "which Trainer seems to hold as `self.model`: write `self.model.ema`." in problem.message


def test_object_that_only_a_derived_class_holds() -> None:
    (problem,) = check(
        """
        class Sae:
            def __init__(self):
                self.ema = 0
        class Base:
            def log(self):
                return self.ema
        class Trainer(Base):
            def __init__(self):
                self.ae = Sae()
        Trainer().log()
        """
    )
    assert "It is set on Sae (line 4), which Trainer holds as `self.ae`" in problem.message


def test_a_buffer_needs_a_module() -> None:
    text = "class A:\n    def __init__(self):\n        self.register_buffer('x', 1)\nA()"
    assert found(text) == [("error", "self.register_buffer", 3)]


# ---------------------------------------------------------------- doubtful programs

DOUBTFUL = {
    "class that is passed on": "class A:\n    def run(self):\n        return self.x\ngo(A)",
    "unknown class decorator": (
        "from lib import extend\n@extend\nclass A:\n    def run(self):\n        return self.x\nA().run()"
    ),
    "unknown method decorator": (
        "from lib import wrap\nclass A:\n    @wrap\n    def run(self):\n        return self.x\nA().run()"
    ),
    "self is handed out": (
        "from lib import load\nclass A:\n    def __init__(self):\n        load(self)\n"
        "    def run(self):\n        return self.x\nA().run()"
    ),
    "self under another name": (
        "class A:\n    def __init__(self):\n        me = self\n    def run(self):\n"
        "        return self.x\nA().run()"
    ),
    "names made at run time on another object": (
        "class A:\n    def run(self):\n        return self.x\na = A()\nsetattr(a, name(), 1)\na.run()"
    ),
    "name is passed to a call": (
        "class A:\n    def run(self):\n        return self.x\na = A()\npatch(a, 'x')\na.run()"
    ),
    "name with a suffix": (
        "class A:\n    def run(self):\n        return self.w_mask\na = A()\nprune(a, 'w')\na.run()"
    ),
    "method that nothing calls": "class A:\n    def go(self):\n        return self.x\nA()",
    "in __del__": "class A:\n    def __del__(self):\n        self.x\nA()",
    "AttributeError is caught by the caller": (
        "class A:\n    def run(self):\n        return self.x\ntry:\n    A().run()\n"
        "except AttributeError:\n    pass"
    ),
    "property that is asked for": (
        "class A:\n    @property\n    def both(self):\n        return self.x\nhasattr(A(), 'both')"
    ),
    "exec": "class A:\n    def run(self):\n        return self.x\nexec(text)\nA().run()",
    "type of self is asked for": (
        "class A:\n    def run(self):\n        if isinstance(self, other()):\n"
        "            return self.x\nA().run()"
    ),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_fault_is_a_warning_that_says_why(name: str) -> None:
    (problem,) = check(DOUBTFUL[name])
    assert problem.severity == "warning"
    assert "may raise AttributeError" in problem.message
    assert "Not certain: " in problem.message


# ---------------------------------------------------------------- correct programs

SETTERS = {
    "assignment": "self.x = 1",
    "tuple": "self.y, (self.x, *self.z) = f()",
    "annotated": "self.x: int = 1",
    "walrus and chain": "a = self.x = 1",
    "for target": "for self.x in f(): pass",
    "with target": "with f() as self.x: pass",
    "delete": "del self.x",
    "in a branch": "if f():\n            self.x = 1",
    "in a nested function": "def g():\n            self.x = 1\n        g()",
    "setattr": "setattr(self, 'x', 1)",
    "setattr with any name": "setattr(self, f(), 1)",
    "object.__setattr__": "object.__setattr__(self, 'x', 1)",
    "super().__setattr__": "super().__setattr__('x', 1)",
    "__dict__": "self.__dict__.update(f())",
    "__dict__ item": "self.__dict__['x'] = 1",
    "vars": "vars(self).update(f())",
    "register_buffer": "self.register_buffer('x', f())",
    "register_parameter by keyword": "self.register_parameter(name='x', param=f())",
    "add_module": "self.add_module('x', f())",
    "register_buffer with any name": "self.register_buffer(f'x{1}', f())",
    "_buffers": "self._buffers['x'] = f()",
    "another class": "self.__class__ = f()",
    "updated after a first value": "self.x = 0\n        self.x += 1",
    "update that has a default": "self.x = self.x if f() else 1",
    "another object is called the same": "other = f()\n        other.x = 1",
}


@pytest.mark.parametrize("name", SETTERS)
def test_every_way_of_setting_counts(name: str) -> None:
    text = (
        f"{HEAD}class A(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {SETTERS[name]}\n"
        "    def run(self):\n        return self.x\nA().run()"
    )
    assert found(text) == []


CORRECT = {
    "class attribute": "class A:\n    x = 1\n    def run(self): return self.x\nA().run()",
    "class attribute in a branch": (
        "class A:\n    if f():\n        x = 1\n    else:\n        x = 2\n"
        "    def run(self): return self.x\nA().run()"
    ),
    "loop in the class body": "class A:\n    for x in f(): pass\n    def run(self): return self.x\nA().run()",
    "import in the class body": "class A:\n    import x\n    def run(self): return self.x\nA().run()",
    "nested class": "class A:\n    class x: ...\n    def run(self): return self.x\nA().run()",
    "method": "class A:\n    def x(self): ...\n    def run(self): return self.x()\nA().run()",
    "slots": "class A:\n    __slots__ = ('x',)\n    def __init__(self): self.x = 1\n"
        "    def run(self): return self.x\nA().run()",
    "property with a setter": (
        "class A:\n    @property\n    def x(self): return self._x\n    @x.setter\n"
        "    def x(self, v): self._x = v\nA().x = 1"
    ),
    "cached property": (
        "import functools\nclass A:\n    @functools.cached_property\n    def x(self): return 1\n"
        "    def run(self): return self.x\nA().run()"
    ),
    "declared": "class A:\n    x: int\n    def run(self): return self.x\nA().run()",
    "dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\n"
        "    def run(self): return self.x\nA(1).run()"
    ),
    "named tuple": (
        "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int\n"
        "    def run(self): return self.x, self._asdict(), self.count(1)\nA(1).run()"
    ),
    "enumeration": (
        "import enum\nclass A(enum.Enum):\n    B = 1\n    def run(self): return self.value, self.name\n"
        "A(1).run()"
    ),
    "__getattr__": "class A:\n    def __getattr__(self, n): return 1\n    def run(self): return self.x\n"
        "A().run()",
    "metaclass": (
        "class M(type):\n    def __call__(cls): ...\nclass A(metaclass=M):\n"
        "    def run(self): return self.x\nA().run()"
    ),
    "methods of a metaclass": "class M(type):\n    def run(cls): return cls.x\nM('A', (), {}).run()",
    "library base": "from lib import B\nclass A(B):\n    def run(self): return self.x\nA().run()",
    "computed base": "class A(f()):\n    def run(self): return self.x\nA().run()",
    "base bound twice": (
        "try:\n    from lib import B\nexcept ImportError:\n    B = object\nclass A(B):\n"
        "    def run(self): return self.x\nA().run()"
    ),
    "star import": "from lib import *\nclass A(B):\n    def run(self): return self.x\nA().run()",
    "subclass sets it": (
        "class A:\n    def run(self): return self.x\nclass B(A):\n    def __init__(self): self.x = 1\n"
        "A(); B().run()"
    ),
    "sibling base sets it": (
        "class A:\n    def run(self): return self.x\nclass S:\n    def __init__(self): self.x = 1\n"
        "class B(A, S): ...\nB().run()"
    ),
    "mixin for classes elsewhere": "class Mixin:\n    def run(self): return self.x",
    "abstract base of a library class": (
        "from lib import B\nclass A:\n    def run(self): return self.x\nclass C(B, A): ...\nC().run()"
    ),
    "set from outside": "class A:\n    def run(self): return self.x\na = A()\na.x = 1\na.run()",
    "set on the class": "class A:\n    def run(self): return self.x\nA.x = 1\nA().run()",
    "set from outside by setattr": "class A:\n    def run(self): return self.x\na = A()\n"
        "setattr(a, 'x', 1)\na.run()",
    "hasattr": "class A:\n    def run(self):\n        if hasattr(self, 'x'): return self.x\nA().run()",
    "getattr with a default": "class A:\n    def run(self): return getattr(self, 'x', 0) or self.x\nA().run()",
    "try": (
        "class A:\n    def run(self):\n        try:\n            return self.x\n"
        "        except AttributeError:\n            return 1\nA().run()"
    ),
    "suppress": (
        "import contextlib\nclass A:\n    def run(self):\n"
        "        with contextlib.suppress(AttributeError):\n            return self.x\nA().run()"
    ),
    "static method": "class A:\n    @staticmethod\n    def run(self): return self.x\nA().run(f())",
    "class method": "class A:\n    x = 1\n    @classmethod\n"
        "    def run(cls): return cls.x, cls.mro(), cls.__name__\nA.run(); A()",
    "self is assigned": "class A:\n    def run(self):\n        self = f()\n        return self.x\nA().run()",
    "self of a nested function": (
        "class A:\n    def run(self):\n        def g(self): return self.x\n        return g\nA().run()"
    ),
    "self is assigned in a nested function": (
        "class A:\n    def run(self):\n        def g():\n            self = f()\n            return self.x\n"
        "        return g\nA().run()"
    ),
    "self of a nested class": (
        "class A:\n    def run(self):\n        class B:\n            def __init__(self): self.x = 1\n"
        "            def go(self): return self.x\n        return B().go()\nA().run()"
    ),
    "__new__": (
        "class A(str):\n    def __new__(cls, v):\n        self = str.__new__(cls, v)\n        self.x = v\n"
        "        return self\n    def run(self): return self.x\nA('a').run()"
    ),
    "private name": "class A:\n    def __init__(self): self.__x = 1\n"
        "    def __y(self): return self.__x\n    def run(self): return self.__y()\nA().run()",
    "plain function of the class body": (
        "class A:\n    def wrap(function): return function.x\n    @wrap\n    def run(self): ...\nA().run()"
    ),
    "attributes of every object": "class A:\n"
        "    def run(self): return self.__class__, self.__doc__, self.__dict__\nA().run()",
    "attributes of a module": (
        HEAD + "class M(nn.Module):\n    def forward(self, x):\n        self.eval()\n"
        "        return self.training, self._forward_hooks, list(self.parameters())\nM()"
    ),
    "attributes of an exception": "class E(OSError):\n"
        "    def __str__(self): return f'{self.args} {self.errno}'\nraise E()",
    "attributes of an optimizer": (
        "import torch\nclass O(torch.optim.Adam):\n"
        "    def step(self): return self.param_groups, self.state, self.defaults\nO([]).step()"
    ),
    "held object may be another": (
        "class B: ...\nclass A:\n    def __init__(self, b=None):\n        self.b = b or B()\n"
        "    def run(self): return self.b.x\nA().run()"
    ),
    "held object is replaced": (
        "class B: ...\nclass A:\n    def __init__(self): self.b = B()\n"
        "    def swap(self, b): self.b = b\n    def run(self): return self.b.x\nA().run()"
    ),
    "held class is an argument": (
        "class B: ...\nclass A:\n    def __init__(self, B): self.b = B()\n"
        "    def run(self): return self.b.x\nA(f()).run()"
    ),
    "defined twice": (
        "if f():\n    class A:\n        def __init__(self): self.x = 1\nelse:\n    class A:\n"
        "        def run(self): return self.x\nA().run()"
    ),
    "replaced method": "class A:\n    def run(self): return self.x\n    def run(self): return 1\nA().run()",
    "class that is never used": "class A:\n    def run(self): return self.x",
    "does not parse": "class A(:\n",
    "null byte": "x = '\0'",
}  # fmt: skip


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_or_unknown_program_has_no_problem(name: str) -> None:
    assert found(CORRECT[name]) == []


def test_held_object_that_another_module_replaces_is_not_judged() -> None:
    text = (
        "class B: ...\nclass A:\n    def __init__(self):\n        self.b = B()\n"
        "    def run(self):\n        return self.b.x\nA().run()"
    )
    assert found(text) == [("error", "self.b.x", 6)]
    assert found(text, {"harness/swap.py": "def swap(a, other):\n    a.b = other\n"}) == []


def test_module_that_sets_attributes_under_names_made_at_run_time_makes_it_a_warning() -> None:
    text = "class A:\n    def run(self):\n        return self.x\nA().run()"
    modules = {
        "harness/load.py": "def load(a, names):\n    for n in names:\n        setattr(a, n, 1)\n"
    }
    assert found(text, modules) == [("warning", "self.x", 3)]


def test_attribute_set_by_another_module_is_no_fault() -> None:
    text = "from harness import warm\nclass A:\n    def run(self): return self.x\na = A()\nwarm.up(a)\na.run()"
    assert found(text, {"harness/warm.py": "def up(a):\n    a.x = 1\n"}) == []
    assert found(text, {"harness/warm.py": "def up(a):\n    a.y = 1\n"}) == [("error", "self.x", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 150 + "1" + ")" * 150,
        "x = " + "-" * 5000 + "1",
        "if a:\n    pass\n" + "elif b:\n    pass\n" * 2000,
        "class A:\n    def run(self):\n        return " + "self.x + " * 3000 + "1\nA().run()\n",
        "".join(f"{'  ' * i}class A{i}:\n" for i in range(80)) + "  " * 80 + "pass\n",
        "class A(B): ...\nclass B(A): ...\nA()\n",
        "A = B\nB = A\nclass C(A):\n    def run(self): return self.x\nC().run()\n",
    ],
)
def test_deep_long_and_circular_texts_do_not_raise(text: str) -> None:
    assert all(p.kind == "attribute_error" for p in check(text))


def test_a_line_of_inheritance_that_is_too_long_is_not_judged() -> None:
    def program(length: int) -> str:
        rest = "".join(f"class A{i}(A{i - 1}): ...\n" for i in range(1, length))
        return f"class A0:\n    def run(self): return self.x\n{rest}A{length - 1}().run()\n"

    assert found(program(30)) == [("error", "self.x", 2)]
    assert found(program(300)) == []


# ---------------------------------------------------------------- invariants

NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"])


@st.composite
def classes(draw: st.DrawFn) -> tuple[list[tuple[str, str, str]], str]:
    """Setters (name, base or own, statement) and a text with two classes that reads every name it sets."""
    base = draw(st.sampled_from(["(nn.Module)", "", "(dict)"]))
    forms = [
        "self.{} = 1",
        "self.{}, other = 1, 2",
        "setattr(self, '{}', 1)",
        "for self.{} in (1,): pass",
        "self.{}: int = 1",
    ]
    if "Module" in base:
        forms.append("self.register_buffer('{}', None)")
    setters = []
    for name in draw(st.lists(NAMES, min_size=1, unique=True)):
        form = draw(st.sampled_from(forms))
        setters.append((name, draw(st.sampled_from(["base", "own"])), form.format(name)))
    return setters, base


def program(setters: list[tuple[str, str, str]], base: str, reads: list[str]) -> str:
    def body(where: str) -> str:
        lines = [s for _, place, s in setters if place == where] or ["pass"]
        return "".join(f"        {line}\n" for line in lines)

    return (
        f"from torch import nn\nclass Base{base}:\n    def __init__(self):\n{body('base')}"
        f"class Own(Base):\n    def build(self):\n{body('own')}"
        f"    def run(self):\n        return {', '.join(f'self.{r}' for r in reads)}\nOwn().run()\n"
    )


@settings(max_examples=150, deadline=None)
@given(classes(), st.data())
def test_the_one_setter_that_is_removed_is_the_one_that_is_told_of(
    drawn: tuple[list[tuple[str, str, str]], str], data: st.DataObject
) -> None:
    setters, base = drawn
    reads = [name for name, _, _ in setters]
    assert found(program(setters, base, reads)) == []
    gone = data.draw(st.sampled_from(setters))
    kept = [s for s in setters if s is not gone]
    problems = found(program(kept, base, reads))
    assert [(severity, shown) for severity, shown, _ in problems] == [("error", f"self.{gone[0]}")]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    assert all(p.kind == "attribute_error" for p in check_attributes("a.py", text, {"b.py": text}))


# ---------------------------------------------------------------- known library classes


# In an interpreter of its own: libraries that other tests import add names to torch's classes.
TORCH_NAMES = """
import json, torch, torch.utils.data as data
def names(*things):
    return [n for t in things for n in dir(t) if not (n.startswith("__") and n.endswith("__"))]
kinds = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop)
print(json.dumps({
    "module": names(torch.nn.Module()),
    "dataset": names(data.Dataset, data.IterableDataset),
    "optimizer": names(*(kind([torch.nn.Parameter(torch.zeros(1))], lr=0.1) for kind in kinds)),
}))
"""


def test_the_names_of_torch_classes_are_those_of_the_installed_torch() -> None:
    pytest.importorskip("torch", reason="the names are torch's")
    answer = subprocess.run([sys.executable, "-c", TORCH_NAMES], capture_output=True, check=True)
    names = {kind: set(found) for kind, found in json.loads(answer.stdout).items()}
    assert names["module"] and names["module"] <= known_bases.MODULE
    assert names["dataset"] and names["dataset"] <= known_bases.DATASET
    assert names["optimizer"] and names["optimizer"] <= known_bases.OPTIMIZER


HELD = """\
class SAE:
    def __init__(self):
        self.ema = 1.0


class Trainer:
    def __init__(self):
        self.sae = SAE()

    def log(self):
        stats = {}
        if hasattr(self, "ema"):
            stats["ema"] = self.ema
            stats["m2"] = self.m2
        return stats


print(Trainer().log())
"""


def test_what_a_hasattr_leaves_out_is_no_error() -> None:
    """The recorded case: the guard is never true, so that the unguarded read under it never fails."""
    found = check_attributes("experiment.py", HELD, {})
    assert [(p.severity, p.line) for p in found] == [("warning", 14)]
    assert "line 12 asks which attributes there are" in found[0].message


def test_a_hasattr_that_is_never_true_is_told() -> None:
    (problem,) = check_asked("experiment.py", HELD, {}, None)
    assert (problem.kind, problem.severity, problem.line) == ("doubtful_code", "warning", 12)
    assert "in silence" in problem.message and "write `self.sae.ema`" in problem.message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("self.sae = SAE()", "self.sae = SAE()\n        self.ema = 2"),
        ("self.sae = SAE()", "self.sae = SAE()\n        setattr(self, 'e' + 'ma', 2)"),
        ("print(Trainer().log())", "trainer = Trainer()\ntrainer.ema = 2\nprint(trainer.log())"),
        ("class Trainer:", "class Trainer(Base):"),
        ("self.ema = 1.0", "self.emb = 1.0"),
        ('hasattr(self, "ema")', 'hasattr(self.sae, "ema")'),
    ],
)
def test_a_hasattr_that_may_be_true_is_not_told(old: str, new: str) -> None:
    assert old in HELD
    assert check_asked("experiment.py", HELD.replace(old, new), {}, None) == []


def test_a_hasattr_of_the_template_is_not_told() -> None:
    assert check_asked("experiment.py", HELD + "\n# more\n", {}, HELD) == []
