from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import Problem
from agent_runner.validation.arguments import check_arguments

TEMPLATE = Path(__file__).resolve().parents[2] / "templates"
HEAD = "import argparse\nparser = argparse.ArgumentParser()\n"
GAMMA = HEAD + 'parser.add_argument("--gamma", type=float, default=0.1)\n'


def check(text: str) -> list[Problem]:
    return check_arguments("experiment.py", text)


def found(text: str) -> list[tuple[str, str, str, int | None]]:
    """(severity, kind, the expression that is told of, line) of each problem."""
    return [
        (p.severity, p.kind, p.message.split("`")[1] if "`" in p.message else "", p.line)
        for p in check(text)
    ]


def error(shown: str, line: int) -> list[tuple[str, str, str, int | None]]:
    return [("error", "bad_arguments", shown, line)]


# ---------------------------------------------------------------- the template


def test_the_template_has_no_fault() -> None:
    for path in (TEMPLATE / "experiment.py", *(TEMPLATE / "harness").glob("*.py")):
        assert check_arguments(path.name, path.read_text()) == []


def test_an_argument_that_the_template_does_not_have() -> None:
    text = (TEMPLATE / "experiment.py").read_text()
    text = text.replace("(trainer.ae, acts)", "(trainer.ae, acts, args.outdir)")
    assert "args.outdir" in text
    line = text[: text.index("args.outdir")].count("\n") + 1
    (problem,) = check(text)
    assert (problem.severity, problem.kind) == ("error", "bad_arguments")
    assert (problem.path, problem.line) == ("experiment.py", line)
    defined = text[: text.index("add_argument(")].count("\n") + 1
    assert problem.message == (
        f"experiment.py:{line}: `args.outdir` is read, but the parser of line {defined - 1} defines no "
        f"`outdir`: this line will raise AttributeError. Read `args.out_dir` (line {defined}), or add "
        f'`parser.add_argument("--outdir", default=...)` near line {defined}.'
    )


def test_out_dir_that_is_taken_and_never_read() -> None:
    text = (TEMPLATE / "experiment.py").read_text().replace("args.out_dir", '"results"')
    (problem,) = check(text)
    assert (problem.severity, problem.kind) == ("warning", "contract")
    assert "--out_dir is taken, but its value is never read" in problem.message


# ---------------------------------------------------------------- faulty programs

FAULTY = {
    "module level": (GAMMA + "args = parser.parse_args()\nprint(args.gama)\n", "args.gama", 5),
    "in a function that sees the global": (
        GAMMA + "args = parser.parse_args()\ndef f():\n    return args.gama\nf()\n",
        "args.gama",
        6,
    ),
    "parser in a function": (
        "import argparse\ndef main():\n    p = argparse.ArgumentParser()\n    p.add_argument('--a')\n"
        "    o = p.parse_args()\n    return o.b\nmain()\n",
        "o.b",
        6,
    ),
    "imported by name": (
        "from argparse import ArgumentParser as P\np = P()\np.add_argument('--a')\n"
        "args = p.parse_args()\nargs.b\n",
        "args.b",
        5,
    ),
    "module under another name": (
        "import argparse as ap\np = ap.ArgumentParser()\nargs = p.parse_args()\nargs.b\n",
        "args.b",
        4,
    ),
    "known arguments, unpacked": (
        GAMMA + "args, rest = parser.parse_known_args()\nargs.gama\n",
        "args.gama",
        5,
    ),
    "known arguments, indexed": (
        GAMMA + "args = parser.parse_known_args()[0]\nargs.gama\n",
        "args.gama",
        5,
    ),
    "without a variable": (
        GAMMA + "print(parser.parse_args().gama)\n",
        "parser.parse_args().gama",
        4,
    ),
    "parser that a function returns": (
        "import argparse\ndef make():\n    p = argparse.ArgumentParser()\n    p.add_argument('--a')\n"
        "    return p\n"
        "args = make().parse_args()\nargs.b\n",
        "args.b",
        7,
    ),
    "result that a function returns": (
        "import argparse\ndef parse():\n    p = argparse.ArgumentParser()\n    p.add_argument('--a')\n"
        "    return p.parse_args()\nargs = parse()\nargs.b\n",
        "args.b",
        7,
    ),
    "passed to a function": (
        GAMMA + "def main(options):\n    return options.gama\nmain(parser.parse_args())\n",
        "options.gama",
        5,
    ),
    "passed by keyword at every call": (
        GAMMA
        + "args = parser.parse_args()\ndef f(x, o=None):\n    return o.gama\nf(1, o=args)\nf(2, args)\n",
        "o.gama",
        6,
    ),
    "passed on": (
        GAMMA
        + "def g(b):\n    return b.gama\ndef f(a):\n    return g(a)\nf(parser.parse_args())\n",
        "b.gama",
        5,
    ),
    "dashes": (
        HEAD + "parser.add_argument('--l-r')\nargs = parser.parse_args()\nargs.lr\n",
        "args.lr",
        5,
    ),
    "dest": (
        HEAD + "parser.add_argument('--lr', dest='rate')\nargs = parser.parse_args()\nargs.lr\n",
        "args.lr",
        5,
    ),
    "short option of a long one": (
        HEAD + "parser.add_argument('-l', '--lr')\nargs = parser.parse_args()\nargs.l\n",
        "args.l",
        5,
    ),
    "group": (
        HEAD
        + "g = parser.add_argument_group('x')\ng.add_argument('--a')\nargs = parser.parse_args()\nargs.b\n",
        "args.b",
        6,
    ),
    "same name on another object": (
        GAMMA
        + "args = parser.parse_args()\nclass A:\n    def __init__(self):\n        self.gama = args.gama\n",
        "args.gama",
        7,
    ),
    "shown and saved": (
        GAMMA
        + "import json\nargs = parser.parse_args()\nprint(args, f'{args}')\njson.dump(vars(args), f)\n"
        "args.gama\n",
        "args.gama",
        8,
    ),
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_certain_fault_is_an_error(name: str) -> None:
    text, shown, line = FAULTY[name]
    assert found(text) == error(shown, line)


def test_all_lines_are_named_in_one_problem() -> None:
    (problem,) = check(
        GAMMA + "args = parser.parse_args()\nargs.zz\nargs.zz\nargs.gamma\nargs.zz\n"
    )
    assert problem.line == 5
    assert "It is also read at lines 6, 8." in problem.message
    assert 'Add `parser.add_argument("--zz", default=...)` near line 3.' in problem.message


def test_two_parsers_are_told_apart() -> None:
    text = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--a')\nx = p.parse_args()\n"
        "q = argparse.ArgumentParser()\nq.add_argument('--b')\ny = q.parse_args()\nx.a, y.b\nx.b\n"
    )
    assert found(text) == error("x.b", 9)


@pytest.mark.parametrize(
    "use",
    [
        "import lib\nlib.setup(args)\n",
        "import lib\nclass T(lib.Base):\n    def __init__(self, args):\n        self.args = args\nT(args)\n",
        "class T:\n    def __init__(self, args):\n        self.args = args\nt = T(args)\nprint(t.args)\n",
        "kept = [args]\n",
        "def f(a):\n    return a.gamma\nf(args)\nf(None)\n",
        "f(args if q else None)\n",
        "try:\n    f()\nexcept (KeyError, AttributeError):\n    pass\n",
    ],
)
def test_a_result_that_others_may_add_to_makes_it_a_warning(use: str) -> None:
    text = GAMMA + "args = parser.parse_args()\n" + use + "print(args.gama)\n"
    (problem,) = check(text)
    assert problem.severity == "warning"
    assert "may raise AttributeError" in problem.message
    assert "Not certain: " in problem.message


# ---------------------------------------------------------------- correct programs

PARSED = "args = parser.parse_args()\n"
CORRECT = {
    "all defined": GAMMA + PARSED + "args.gamma\n",
    "positional": HEAD + "parser.add_argument('data', nargs='?')\n" + PARSED + "args.data\n",
    "short": HEAD + "parser.add_argument('-g')\n" + PARSED + "args.g\n",
    "first long option": HEAD + "parser.add_argument('-g', '--big-one', '--other')\n"
        "" + PARSED + "args.big_one\n",
    "flag": HEAD + "parser.add_argument('--no-x', action='store_false', dest='x')\n" + PARSED + "args.x\n",
    "boolean": HEAD + "parser.add_argument('--x', action=argparse.BooleanOptionalAction)\n"
        "" + PARSED + "args.x\n",
    "defaults": GAMMA + "parser.set_defaults(x=1)\n" + PARSED + "args.x\n",
    "defaults after the parse": GAMMA + PARSED + "args.x\nparser.set_defaults(x=1)\n",
    "computed defaults": GAMMA + "parser.set_defaults(**d)\n" + PARSED + "args.x\n",
    "group of a group": (
        HEAD + "g = parser.add_argument_group().add_mutually_exclusive_group()\ng.add_argument('--x')\n"
        "" + PARSED + "args.x\n"
    ),
    "loop": HEAD + "for n in names:\n    parser.add_argument('--' + n)\n" + PARSED + "args.x\n",
    "names in a list": HEAD + "parser.add_argument(*names)\n" + PARSED + "args.x\n",
    "computed dest": HEAD + "parser.add_argument('--y', dest=n)\n" + PARSED + "args.x\n",
    "options in a dictionary": HEAD + "parser.add_argument('--y', **o)\n" + PARSED + "args.x\n",
    "action of one's own": HEAD + "parser.add_argument('--y', action=Mine)\n" + PARSED + "args.x\n",
    "subparsers": GAMMA + "s = parser.add_subparsers()\n" + PARSED + "args.x\n",
    "parents": "import argparse\nparser = argparse.ArgumentParser(parents=[p])\n" + PARSED + "args.x\n",
    "other prefix": "import argparse\nparser = argparse.ArgumentParser(prefix_chars='+')\n"
        "" + PARSED + "args.x\n",
    "parser is passed to a library": GAMMA + "import lib\nlib.add(parser)\n" + PARSED + "args.x\n",
    "parser is passed to a function of the file": (
        GAMMA + "def more(p):\n    p.add_argument('--x')\nmore(parser)\n" + PARSED + "args.x\n"
    ),
    "parser goes through a function": (
        HEAD + "def more(p):\n    p.add_argument('--x')\n    return p\nparser = more(parser)\n"
        "" + PARSED + "args.x\n"
    ),
    "parser or another": GAMMA + "p = parser if q else other\np.add_argument('--x')\n" + PARSED + "args.x\n",
    "one of several parsers": GAMMA + "for p in (parser, other):\n    p.add_argument('--x')\n"
        "" + PARSED + "args.x\n",
    "method is kept": GAMMA + "add = parser.add_argument\nadd('--x')\n" + PARSED + "args.x\n",
    "namespace is passed": GAMMA + "args = parser.parse_args(namespace=ns)\nargs.x\n",
    "namespace by hand": GAMMA + "args = argparse.Namespace(x=1)\nargs.x\n",
    "set later": GAMMA + PARSED + "args.x = 1\nargs.x\n",
    "set in a function": GAMMA + PARSED + "def f(a):\n    a.x = 1\nf(args)\nargs.x\n",
    "setattr": GAMMA + PARSED + "setattr(args, 'x', 1)\nargs.x\n",
    "setattr with any name": GAMMA + PARSED + "setattr(args, n, 1)\nargs.x\n",
    "__dict__": GAMMA + PARSED + "args.__dict__.update(d)\nargs.x\n",
    "vars is changed": GAMMA + PARSED + "vars(args).update(d)\nargs.x\n",
    "vars is kept": GAMMA + PARSED + "d = vars(args)\nd['x'] = 1\nargs.x\n",
    "item of vars": GAMMA + PARSED + "vars(args)['x'] = 1\nargs.x\n",
    "hasattr": GAMMA + PARSED + "if hasattr(args, 'x'):\n    args.x\n",
    "getattr": GAMMA + PARSED + "getattr(args, 'x', None) or args.x\n",
    "try": GAMMA + PARSED + "try:\n    args.x\nexcept AttributeError:\n    pass\n",
    "rebound": GAMMA + PARSED + "args = change(args)\nargs.x\n",
    "two parses": GAMMA + "if q:\n    args = parser.parse_args()\nelse:\n    args = other()\nargs.x\n",
    "conditional": GAMMA + "args = parser.parse_args() if q else other()\nargs.x\n",
    "global": GAMMA + "args = None\ndef f():\n    global args\n    args = parser.parse_args()\nf()\nargs.x\n",
    "parameter of the same name": GAMMA + PARSED + "def f(args):\n    return args.x\nf(other)\n",
    "function that is also called with something else": (
        GAMMA + "def f(a):\n    return a.x\nf(other)\nf(parser.parse_args().gamma)\n"
    ),
    "several returns": (
        "import argparse\ndef parse(q):\n    if q:\n        return other()\n    p = argparse.ArgumentParser()\n"
        "    return p.parse_args()\nargs = parse(1)\nargs.x\n"
    ),
    "parser of a class of one's own": "import argparse\nclass P(argparse.ArgumentParser): ...\n"
        "parser = P()\n" + PARSED + "args.x\n",
    "another ArgumentParser": "from lib import ArgumentParser\nparser = ArgumentParser()\n"
        "" + PARSED + "args.x\n",
    "class body": "import argparse\nclass A:\n    p = argparse.ArgumentParser()\n"
        "    a = p.parse_args()\n    a.x\nA.p.add_argument('--x')\n",
    "members of a namespace": GAMMA + PARSED + "args._get_kwargs(), args.__class__\n",
    "no argparse": "args = parse()\nargs.x\n",
    "does not parse": "import argparse\nargparse.ArgumentParser(\n",
}  # fmt: skip


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_or_unknown_program_has_no_problem(name: str) -> None:
    assert found(CORRECT[name]) == []


def test_function_that_takes_several_parsers_makes_it_a_warning() -> None:
    text = (
        "import argparse\ndef run(p):\n    args = p.parse_args()\n    return args.b\n"
        "a = argparse.ArgumentParser()\na.add_argument('--a')\nrun(a)\n"
        "b = argparse.ArgumentParser()\nb.add_argument('--b')\nrun(b)\n"
    )
    assert [severity for severity, *_ in found(text)] == ["warning"]


OUT = HEAD + 'parser.add_argument("--out_dir", default="run_0")\nargs = parser.parse_args()\n'


@pytest.mark.parametrize(
    "use",
    [
        "open(args.out_dir)\n",
        "main(args)\n",
        "main(**vars(args))\n",
        "print(vars(args)['out_dir'])\n",
        "getattr(args, 'out_dir')\n",
        "getattr(args, name)\n",
        "for k, v in vars(args).items(): save(k, v)\n",
        "def main(a):\n    return a.out_dir\nmain(args)\n",
    ],
)
def test_out_dir_that_may_be_read_is_no_fault(use: str) -> None:
    assert found(OUT + use) == []


def test_out_dir_is_not_looked_for_where_nothing_is_parsed() -> None:
    assert found(OUT.replace("args = parser.parse_args()\n", "")) == []
    assert [p.kind for p in check(OUT)] == ["contract"]


@pytest.mark.parametrize(
    "text",
    [
        "# ArgumentParser\nx = " + "-" * 5000 + "1",
        "# ArgumentParser\nx = " + "(" * 150 + "1" + ")" * 150,
        GAMMA + PARSED + "x = " + "args.gamma + " * 2500 + "1\n",
        HEAD + "parser = parser\nargs = parser.parse_args()\nargs.x\n",
        "import argparse\ndef f(a):\n    return f(a)\nf(argparse.ArgumentParser().parse_args())\n",
    ],
)
def test_deep_long_and_circular_texts_do_not_raise(text: str) -> None:
    assert check(text) == []


# ---------------------------------------------------------------- invariants

NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"])
FORMS = st.sampled_from(
    [
        "parser.add_argument('--{}')",
        "parser.add_argument('-x', '--{}', default=1)",
        "parser.add_argument('--other', dest='{}')",
        "parser.add_argument('{}', nargs='?')",
        "parser.set_defaults({}=1)",
        "group.add_argument('--{}', action='store_true')",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, FORMS, min_size=1), st.data())
def test_the_one_argument_that_is_removed_is_the_one_that_is_told_of(
    forms: dict[str, str], data: st.DataObject
) -> None:
    head = HEAD + "group = parser.add_argument_group()\n"
    tail = PARSED + "".join(f"print(args.{name})\n" for name in forms)

    def program(kept: dict[str, str]) -> str:
        return head + "".join(f"{f.format(n)}\n" for n, f in kept.items()) + tail

    assert found(program(forms)) == []
    gone = data.draw(st.sampled_from(sorted(forms)))
    problems = found(program({n: f for n, f in forms.items() if n != gone}))
    assert [(severity, shown) for severity, _, shown, _ in problems] == [("error", f"args.{gone}")]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_taken(text: str) -> None:
    assert check("# ArgumentParser\n" + text) == []
