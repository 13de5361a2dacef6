"""Small programs that end in NameError (and in which line), and ones that run."""

from __future__ import annotations

FAULTY: dict[str, tuple[str, int | None]] = {
    "module": ("print(undefined)\n", 1),
    "typo in a function": ("def f(value):\n    return valeu\nf(1)\n", 2),
    "import missing": ("def f(x):\n    return np.mean(x)\nprint(f([1]))\n", 2),
    "noqa": ("print(undefined)  # noqa: F821\n", 1),
    "noqa for the file": ("# ruff: noqa\n# flake8: noqa\nprint(undefined)\n", 3),
    "ruff: ignore": ("print(undefined)  # ruff: ignore[F821]\n", 1),
    "ruff: disable": (
        "# ruff: disable[F821]\nprint(undefined)\n# ruff: enable[F821]\n",
        2,
    ),
    "pylint and type comments": ("print(undefined)  # type: ignore  # pylint: disable=all\n", 1),
    "method called by a base": (
        "import threading\nclass T(threading.Thread):\n    def run(self):\n        return y\nT().start()\n",
        4,
    ),
    "annotation of a parameter": ("def f(x: Optional[int] = None):\n    return x\n", 1),
    "annotation of a result": ("def f() -> Tensor:\n    return 1\n", 1),
    "annotation in a class body": ("class A:\n    x: Optional[int] = None\nA()\n", 2),
    "own class in its body": ("class A:\n    def copy(self) -> A:\n        return self\n", 2),
    "default of a parameter": ("def f(x=SIZE):\n    return x\n", 1),
    "decorator": ("@dataclass\nclass A:\n    x: int = 1\n", 1),
    "base class": ("class A(Base):\n    pass\n", 1),
    "base class further down": ("class A(Base):\n    pass\nclass Base:\n    pass\n", 1),
    "constant further down": ("def f(x=SIZE):\n    return x\nSIZE = 3\n", 1),
    "in an f-string": ('value = 1\nprint(f"{value} {valu:.3f}")\n', 2),
    "in a nested f-string": ("width = 2\nprint(f'{1.0:{widht}}')\n", 2),
    "in a triple-quoted f-string": ('print(f"""\n  {undefined}\n""")\n', None),
    "in a comprehension": ("print([i * factor for i in range(3)])\n", 1),
    "comprehension's variable after it": ("a = [i for i in range(3)]\nprint(i)\n", 2),
    "in a lambda": ("f = lambda x: x + offset\nf(1)\n", 1),
    "in a nested function": ("def f():\n    def g():\n        return h\n    return g()\nf()\n", 3),
    "class attribute without self": (
        "class A:\n    size = 3\n    def f(self):\n        return size\nA().f()\n",
        4,
    ),
    "handler for something else": (
        "try:\n    x = undefined\nexcept (ValueError, KeyError):\n    pass\n",
        2,
    ),
    "handler that raises again": (
        "try:\n    x = undefined\nexcept Exception as e:\n    print(e)\n    raise\n",
        2,
    ),
    "else of a try": ("try:\n    pass\nexcept Exception:\n    pass\nelse:\n    undefined\n", 6),
    "in a with": ("with open('x') as f:\n    f.write(undefined)\n", 2),
    "main block": ("if __name__ == '__main__':\n    main()\n", 2),
    "loop over an undefined name": ("for x in batches:\n    print(x)\n", 1),
    "del": ("def f():\n    return undefined\nf()\nx = 1\ndel x\n", 2),
    "augmented, unbound": ("total = 0\ndef f():\n    total += 1\nf()\n", 3),
    "assigned from itself": ("lr = 1\ndef f():\n    lr = lr * 2\n    return lr\nf()\n", 3),
    "used before its assignment": ("def f():\n    print(x)\n    x = 1\nf()\n", 2),
    "CRLF": ("x = 1\r\nprint(undefined)\r\n", 2),
    "old Mac line ends": ("x = 1\rprint(undefined)\r", 2),
    "byte order mark": ("\ufeffprint(undefined)\n", 1),
    "after other letters": ("s = 'é𝔘' + undefined\n", 1),
    "in a name of other letters": ("größe = 1\nprint(gröse)\n", 2),
    "while True": ("def f():\n    while True:\n        if undefined:\n            break\nf()\n", 3),
    "async": (
        "import asyncio\nasync def f():\n    await undefined()\nasyncio.run(f())\n",
        3,
    ),
    "match": ("match 1:\n    case 1:\n        print(undefined)\n", 3),
    "vars of something": (
        "import argparse\nargs = argparse.Namespace()\nprint(vars(args), undefined)\n",
        3,
    ),
    "model.eval()": (
        "from unittest.mock import Mock\ndef f(model):\n    model.eval()\n    return undefined\nf(Mock())\n",
        4,
    ),
    "property": (
        "class A:\n    @property\n    def x(self):\n        return undefined\nprint(A().x)\n",
        4,
    ),
    "called by its name": (
        "class A:\n    def go(self):\n        return undefined\ngetattr(A(), 'go')()\n",
        3,
    ),
    "registered": (
        "import atexit\n@atexit.register\ndef f():\n    return undefined\n",
        4,
    ),
}

CORRECT = {
    "exec": "exec('x = 1')\nprint(x)\n",
    "eval": "eval('(x := 1)')\nprint(x)\n",
    "globals": "globals()['x'] = 1\nprint(x)\n",
    "globals().update": "globals().update(x=1)\ndef f():\n    return x\nf()\n",
    "locals": "locals()['x'] = 1\nprint(x)\n",
    "vars()": "vars()['x'] = 1\nprint(x)\n",
    "builtins": "import builtins\nbuiltins.x = 1\nprint(x)\n",
    "sys.modules": "import sys\nsetattr(sys.modules[__name__], 'x', 1)\nprint(x)\n",
    "import of itself": "import importlib\nimportlib.import_module(__name__).x = 1\nprint(x)\n",
    "__main__": "import __main__\n__main__.x = 1\nprint(x)\n",
    "__globals__": "def f():\n    return x\nf.__globals__['x'] = 1\nf()\n",
    "star import": "from math import *\nprint(sqrt(2))\n",
    "except NameError": "try:\n    unicode\nexcept NameError:\n    unicode = str\nprint(unicode)\n",
    "except NameError alone": "try:\n    raw_input\nexcept NameError:\n    pass\n",
    "NameError handled elsewhere": (
        "def f():\n    return undefined\ntry:\n    f()\nexcept NameError:\n    pass\n"
    ),
    "except Exception": "try:\n    x = undefined\nexcept Exception:\n    x = 1\nprint(x)\n",
    "bare except": "try:\n    x = undefined\nexcept:\n    x = 1\nprint(x)\n",
    "suppress": (
        "import contextlib\nwith contextlib.suppress(Exception):\n    undefined\nprint(1)\n"
    ),
    "pytest.raises": "import pytest\nwith pytest.raises(Exception):\n    undefined\n",
    "assertRaises": (
        "import unittest\nunittest.TestCase().assertRaises(Exception, lambda: undefined)\n"
    ),
    "TYPE_CHECKING": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    undefined\nprint(1)\n"
    ),
    "future annotations": "from __future__ import annotations\ndef f(x: Foo) -> Bar:\n    y: Baz = x\n",
    "annotation in a string": "def f(x: 'Foo') -> 'list[Bar]':\n    return x\nf(1)\n",
    "annotation of a local variable": "def f():\n    y: Foo = 1\n    return y\nf()\n",
    "global of another function": (
        "def set_up():\n    global state\n    state = 1\ndef use():\n    return state\nset_up()\nuse()\n"
    ),
    "global, used in the module": (
        "def set_up():\n    global state\n    state = 1\nset_up()\nprint(state)\n"
    ),
    "bound later, used later": "def f():\n    return late\nlate = 1\nf()\n",
    "bound in an earlier round": (
        "for i in range(3):\n    if i > 0:\n        print(last)\n    last = i\n"
    ),
    "bound in an earlier round of a while": (
        "i = 0\nwhile i < 3:\n    if i:\n        print(last)\n    last = i\n    i += 1\n"
    ),
    "del and set again": "x = 1\ndel x\nx = 2\nprint(x)\n",
    "dead code after return": "def f():\n    return 1\n    undefined\nf()\n",
    "dead code after raise": "def f():\n    raise SystemExit\n    undefined\nf()\n",
    "dead code after sys.exit": "import sys\nsys.exit(0)\nundefined\n",
    "dead code after continue": "for i in range(3):\n    continue\n    undefined\n",
    "if False": "if False:\n    undefined\n",
    "if 0": "if 0:\n    undefined\n",
    "if not True": "if not True:\n    undefined\n",
    "False and": "x = False and undefined\n",
    "constant that is off": "DEBUG = False\nif DEBUG:\n    undefined\n",
    "function that nothing calls": "def f():\n    return undefined\nprint(1)\n",
    "functions that only call each other": (
        "def f():\n    return g()\ndef g():\n    return f() + undefined\nprint(1)\n"
    ),
    "function that calls itself": "def f():\n    return f() + undefined\nprint(1)\n",
    "method of a class that nothing uses": (
        "class A:\n    def __init__(self):\n        undefined\nprint(1)\n"
    ),
    "version of Python": (
        "import sys\nif sys.version_info[0] < 3:\n    text = unicode\nelse:\n    text = str\n"
    ),
    "PY2 and": "PY2 = bytes is str\nx = PY2 and unicode('x')\n",
    "platform": "import sys\nif sys.platform == 'win32':\n    undefined\n",
    "os.name": "import os\nif os.name == 'nt':\n    undefined\n",
    "name of a tool": "if __name__ == '__channelexec__':\n    channel.send(1)\n",
    "error path": "def f(x):\n    if x < 0:\n        raise ValueError(undefined)\nf(1)\n",
    "message of an assertion": "x = 1\nassert x == 1, undefined\n",
    "in a handler": "try:\n    x = 1\nexcept ValueError:\n    undefined\n",
    "dunder": "print(__file__, __name__, __doc__, __spec__, __loader__)\n",
    "class cell": (
        "class A:\n    def f(self):\n        return __class__, __qualname__ if 0 else 1\nA().f()\n"
    ),
    "walrus": "if (n := 3) > 2:\n    print(n)\n",
    "walrus in a comprehension": "print([y for x in range(3) if (y := x)], y)\n",
    "match binds": "match [1, 2]:\n    case [a, *b]:\n        print(a, b)\n",
    "mapping pattern": "match {'a': 1}:\n    case {'a': a, **rest}:\n        print(a, rest)\n",
    "except binds": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    print(e)\n",
    "class body in order": "class A:\n    n = 3\n    size = n * 2\n    xs = [1 for _ in range(n)]\n",
    "class in its own method": "class A:\n    def copy(self):\n        return A()\nA().copy()\n",
    "import binds the package": "import os.path\nprint(os.sep)\n",
    "names of the builtins": "print(ExceptionGroup, aiter, anext, EncodingWarning)\n",
    "names of the shell": "print(exit, quit, copyright)\n",
    "metaclass": (
        "class Names(type):\n    @classmethod\n    def __prepare__(cls, *given):\n"
        "        return {'injected': 1}\nclass A(metaclass=Names):\n    x = injected\n"
    ),
    "import in a function, global": (
        "def load():\n    global js\n    import json as js\ndef use():\n    return js.dumps(1)\n"
        "load()\nuse()\nprint(js)\n"
    ),
    "builtins by name": (
        "import importlib\nimportlib.import_module('builtins').extra = 1\nprint(extra)\n"
    ),
    "__main__ by name": (
        "import importlib\nimportlib.import_module('__main__').extra = 1\nprint(extra)\n"
    ),
    "modules of sys": "from sys import modules\nmodules[__name__].extra = 1\nprint(extra)\n",
    "session": "import dill\ndill.load_session('s')\nprint(restored)\n",
    "words in an annotation": "def f(x: 'Float[Tensor, \"batch dim\"]'):\n    return x\nf(1)\n",
    "local of the same name as below": (
        "def f():\n    for i in range(2):\n        if i:\n            total += 1\n        total = i\n"
        "    return total\nf()\ntotal = 3\n"
    ),
    "comprehension in a class": "class A:\n    xs = [1]\n    ys = [x for x in xs]\n",
    "names of two files": "from math import sqrt as root\nprint(root(2))\n",
    "or with a default": "x = True or undefined\n",
    "recursion of a nested function": (
        "def f(n):\n    def g(m):\n        return g(m - 1) if m else 0\n    return g(n)\nf(2)\n"
    ),
    "gettext": "import gettext\ngettext.install('x')\nprint(_('hello'))\n",
    "doctest": 'def f():\n    """\n    >>> undefined\n    """\nf()\n',
    "metaclass attributes": "import enum\nclass C(enum.Enum):\n    A = 1\n    B = A\nprint(C.A)\n",
    "global_enum": (
        "import enum\n@enum.global_enum\nclass C(enum.Enum):\n    RED = 1\nprint(RED)\n"
    ),
    "nonlocal": (
        "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n    g()\n    return n\nf()\n"
    ),
    "nonlocal of an inner function": (
        "def f():\n    def g():\n        nonlocal n\n        n = 1\n    g()\n    print(n)\n    n = 2\nf()\n"
    ),
    "decorator that swallows": (
        "def ignore_errors(f):\n    def g():\n        try:\n            return f()\n"
        "        except Exception:\n            return None\n    return g\n"
        "@ignore_errors\ndef f():\n    return undefined\nf()\n"
    ),
    "private name of a class": "_A__x = 1\nclass A:\n    def f(self):\n        return __x\nA().f()\n",
    "skipped test": (
        "import unittest\nclass T(unittest.TestCase):\n    @unittest.skip('x')\n"
        "    def test_x(self):\n        undefined\nunittest.main()\n"
    ),
    "with several items": "with open('a') as a, open(a.name) as b:\n    print(a, b)\n",
    "notebook": (
        "import sys\nin_notebook = 'ipykernel' in sys.modules\nif in_notebook:\n    display(1)\n"
    ),
}
