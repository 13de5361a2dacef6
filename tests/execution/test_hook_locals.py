"""What the exception hook tells of variables: enough to see the fault, no secret; none of the program runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hook_program import Program

HIDDEN = "<not recorded: it may be a secret>"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def values(program: Program, function: str = "fail", raised: int = 0) -> dict[str, str]:
    """The variables of the innermost frame of that function."""
    frames = program.exception["chain"][raised]["frames"]
    return next(f["locals"] for f in reversed(frames) if f["function"] == function)  # type: ignore[no-any-return]


def in_function(*lines: str, last: str = "1 / 0") -> str:
    body = "\n".join(f"    {line}" for line in (*lines, last))
    return f"def fail():\n{body}\n\nfail()\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("None", "None"),
        ("True", "True"),
        ("3", "3"),
        ("1 << 5000", "an int of 5001 bits"),
        ("float('nan')", "nan"),
        ("0.1 + 0.2j", "(0.1+0.2j)"),
        ("'adam'", "'adam'"),
        ("'x' * 500", f"'{'x' * 80}'... (500 characters)"),
        ("'two\\nlines'", "'two\\\\nlines'"),
        ("b'abc'", "3 bytes"),
        ("[]", "list of 0"),
        ("[1, 'b', None]", "list of 3: [1, 'b', None]"),
        ("list(range(9))", "list of 9: [0, 1, 2, 3, ...]"),
        ("((1, (2, (3, 4))),)", "tuple of 1: (tuple of 2: (1, tuple of 2))"),
        ("{'lr': 0.1, 'k': [1]}", "dict of 2: {'lr': 0.1, 'k': list of 1: [1]}"),
        ("{(1, 2): 3}", "dict of 1: {tuple of 2: (1, 2): 3}"),
        ("range(5)", "range(0, 5)"),
        ("__import__('pathlib').PurePosixPath('a')", "PurePosixPath"),
        ("__import__('pathlib').Path('a/b')", "PosixPath 'a/b'"),
        ("__import__('argparse').Namespace(lr=0.1)", "Namespace('lr': 0.1)"),
        ("object()", "object"),
        ("(i for i in ())", "generator"),
        ("__import__('os').environ", "_Environ"),
    ],
)
def test_values(program: Program, value: str, told: str) -> None:
    program.run(in_function(f"x = {value}"))
    assert values(program) == {"x": told.replace("\\\\", "\\")}


def test_what_the_line_mentions_comes_first(program: Program) -> None:
    others = "; ".join(f"v{i} = {i}" for i in range(40))
    program.run(in_function(others, "x, y = 5, 0", last="x / y  # v39, 'v38'"))
    names = list(values(program))
    assert names[:2] == ["x", "y"] and len(names) == 16 and "v39" not in names


def test_attributes_that_the_line_mentions(program: Program) -> None:
    program.run(
        "class Inner:\n"
        "    def __init__(self): self.size = 3\n"
        "class Outer:\n"
        "    def __init__(self): self.inner = Inner()\n"
        "    def fail(self): return self.inner.size + self.gone\n"
        "Outer().fail()\n"
    )
    assert values(program) == {"self": "Outer", "self.inner": "Inner", "self.inner.size": "3"}


def test_a_module_tells_what_its_line_mentions_only(program: Program) -> None:
    program.run("secret_plan = 1\nimport os\nrate = 0\nother = 2\n1 / rate\n")
    assert values(program, "<module>") == {"rate": "0"}


@pytest.mark.parametrize(
    "line",
    [
        "token = 'abc'",
        "hf_token = 'abc'",
        "API_KEY = 'abc'",
        "password = 12345",
        "credentials = ['a', 'b']",
        "x = 'hf_AbCdEfGhIjKlMnOp'",
        "x = 'curl -H Bearer abcdefghijklm'",
        "x = 'https://me:pass@host/'",
        "x = 'sk-proj-abcdefghijkl'",
        "x = '0123456789abcdef0123456789abcdef01234567'",
    ],
)
def test_secrets_are_not_told(program: Program, line: str) -> None:
    program.run(in_function(line))
    (told,) = values(program).values()
    assert told == HIDDEN


def test_secrets_inside_containers_are_not_told(program: Program) -> None:
    program.run(
        in_function(
            "x = {'api_key': 'topmost', 'deep': {'password': 'hidden1'}, 'l': ['hf_abcdefghijkl']}",
            "import argparse",
            "args = argparse.Namespace(wandb_token='topmost', lr=1)",
        )
    )
    text = (program.record / "exception.json").read_text()
    recorded = str(values(program))
    assert "topmost" not in recorded and "hidden1" not in recorded and "hf_abc" not in recorded
    assert recorded.count(HIDDEN) == 4 and text


def test_words_of_machine_learning_are_no_secrets(program: Program) -> None:
    lines = ("tokens = 512", "key = 'query'", "n_tokens = 3", "author = 'me'", "tokenizer = 'bpe'")
    program.run(in_function(*lines))
    assert HIDDEN not in values(program).values()


def test_no_code_of_the_program_runs(program: Program) -> None:
    done = program.run(
        "class Loud:\n"
        "    def __repr__(self): print('ran'); raise SystemExit(9)\n"
        "    __str__ = __format__ = __repr__\n"
        "    def __getattr__(self, name): print('ran', name)\n"
        "    def __len__(self): print('ran'); return 1\n"
        "    def __iter__(self): print('ran'); return iter(())\n"
        "    @property\n"
        "    def size(self): print('ran')\n"
        "class Listed(list):\n"
        "    __iter__ = __len__ = Loud.__iter__\n"
        "def fail():\n"
        "    loud = Loud(); listed = Listed(); many = {'a': loud, 'b': [loud]}\n"
        "    return 1 / 0, loud.size, loud.gone.x, listed\n"
        "fail()\n"
    )
    assert "ran" not in done.stdout and done.returncode == 1
    assert values(program) == {
        "loud": "Loud",
        "listed": "Listed",
        "many": "dict of 2: {'a': Loud, 'b': list of 1: [Loud]}",
    }


def test_causes_and_workers_have_their_variables(program: Program) -> None:
    program.run(
        "import multiprocessing\n"
        "def fail():\n"
        "    batch = [1, 2]\n"
        "    raise ValueError(len(batch))\n"
        "if __name__ == '__main__':\n"
        "    worker = multiprocessing.get_context('fork').Process(target=fail)\n"
        "    worker.start(); worker.join()\n"
    )
    assert values(program) == {"batch": "list of 2: [1, 2]"}


def test_the_exception_is_kept_where_the_variables_cannot_be(program: Program) -> None:
    """A file of the program's stands in the way of a module that the summary needs."""
    (program.folder / "re.py").write_text("raise RuntimeError('not this one')\n")
    program.run(in_function("x = 1"))
    assert program.exception["chain"][0]["type"] == "ZeroDivisionError"


def test_frames_of_libraries_tell_nothing(program: Program) -> None:
    program.run("import json\ntext = '{'\njson.loads(text)\n")
    frames = program.exception["chain"][0]["frames"]
    assert [("locals" in frame) for frame in frames] == [True, False, False, False]
    assert frames[0]["locals"] == {"text": "'{'"}


def test_only_the_innermost_frames_of_a_deep_stack(program: Program) -> None:
    program.run("def fail(n):\n    return fail(n + 1)\nfail(0)\n")
    frames = program.exception["chain"][0]["frames"]
    assert sum("locals" in frame for frame in frames) == 8
    assert "locals" in frames[-1]


LOUD = (
    "def loud(*a, **k): print('ran'); raise SystemExit(9)",
    "class Meta(type):",
    "    def __getattribute__(self, name): loud()",
    "    __instancecheck__ = __subclasscheck__ = loud",
)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("class L(metaclass=Meta): pass", "x = object.__new__(L)"), "fail.L"),
        (("class L: __dict__ = __class__ = shape = property(loud)", "x = L()"), "fail.L"),
        (("class Namespace: __dict__ = property(loud)", "x = Namespace()"), "fail.Namespace"),
        (("class PosixPath: __str__ = loud", "x = PosixPath()"), "fail.PosixPath"),
        (("x = type('slice', (), {'__str__': loud})()",), "slice"),
        (("class L: __repr__ = loud", "x = slice(L(), 1)"), "slice(fail.L, 1, None)"),
        (("class D: __module__ = 'pandas'; shape = property(loud)", "x = D()"), "fail.D"),
        (("import weakref", "class L: pass", "x = weakref.proxy(L())"), "weakref.ProxyType"),
        (("x = range(1 << 90000)",), "range(0, an int of 90001 bits)"),
    ],
)
def test_classes_that_look_like_others(program: Program, lines: tuple[str, ...], told: str) -> None:
    done = program.run(in_function(*LOUD, *lines, last="1 / 0; x, x.y.z"))
    assert "ran" not in done.stdout and done.returncode == 1
    assert values(program)["x"].rpartition(".")[2] == told.rpartition(".")[2]


def test_attributes_in_slots(program: Program) -> None:
    program.run(
        "class P:\n    __slots__ = ('size', 'gone')\n"
        "def fail():\n    x = P(); x.size = 3\n    x.size + x.gone\nfail()\n"
    )
    assert values(program) == {"x": "P", "x.size": "3"}


def test_names_that_are_none_and_mappings_of_the_programs_own(program: Program) -> None:
    program.run("globals()[5] = 1\ny = 2\ny.x\n")
    assert values(program, "<module>") == {"y": "2"}
    done = program.run(
        "class D(dict):\n    def items(self): print('ran')\n    __iter__ = __contains__ = items\n"
        "names = D(x=7)\n"
        "exec(compile('x.y', 'experiment.py', 'exec'), {}, names)\n"
    )
    assert "ran" not in done.stdout
    assert program.exception["chain"][0]["frames"][-1]["locals"] == {"x": "7"}


def test_numpy_arrays_in_a_file_that_has_shrunk_are_not_read(program: Program) -> None:
    """Reading them is a SIGBUS, which no one can catch."""
    pytest.importorskip("numpy", reason="the program uses numpy")
    done = program.run(
        "import numpy as np, os\ndef fail():\n"
        "    x = np.memmap('m', dtype='f4', mode='w+', shape=(9999,)); y = np.asarray(x)[5:]\n"
        "    os.truncate('m', 0)\n    1 / 0\nfail()\n"
    )
    assert done.returncode == 1
    assert values(program) == {"x": "memmap (9999,) float32", "y": "ndarray (9994,) float32"}


def test_numpy_arrays_of_all_sorts(program: Program) -> None:
    pytest.importorskip("numpy", reason="the program uses numpy")
    done = program.run(
        in_function(
            *LOUD,
            "import numpy as np",
            "np.seterrcall(loud); np.seterr(all='call')",
            "class A(np.ndarray): min = max = size = shape = __array_ufunc__ = property(loud)",
            "a = np.ndarray.__new__(A, (3,))",
            "b = np.zeros(2, dtype=[(f'f{i}', 'f4') for i in range(3000)])",
            "c = np.array([1.0, np.nan])",
            "d = np.float32(3)",
            last="(a, b, c, d, 1 / 0)",
        )
    )
    told = values(program)
    assert done.returncode == 1
    assert told["a"].endswith("A (3,) float64") and told["b"] == "ndarray (2,) 3000 fields"
    assert (told["c"], told["d"]) == ("ndarray (2,) float64, has NaN", "float32 () float32, 3")


class TestTensors:
    @pytest.fixture(autouse=True)
    def _torch(self) -> None:
        pytest.importorskip("torch", reason="the program uses torch")

    def test_all_kinds(self, program: Program) -> None:
        program.run(
            "import torch, numpy as np\n"
            "def fail():\n"
            "    a = torch.arange(6.0).reshape(2, 3)\n"
            "    b = torch.tensor([1.0, float('nan')])\n"
            "    c = torch.tensor([1.0, float('-inf')], dtype=torch.bfloat16)\n"
            "    d = torch.zeros(3, dtype=torch.long)\n"
            "    e = torch.nn.Parameter(torch.ones(2))\n"
            "    f = torch.empty(4, 5, device='meta')\n"
            "    g = torch.tensor(2.5)\n"
            "    h = torch.ones(2, dtype=torch.bool)\n"
            "    i = np.ones((2, 2), dtype=np.float32)\n"
            "    j = np.array([1, None], dtype=object)\n"
            "    k = torch.empty(0, 7)\n"
            "    1 / 0\n"
            "fail()\n"
        )
        assert values(program) == {
            "a": "Tensor (2, 3) float32 on cpu, from 0 to 5",
            "b": "Tensor (2,) float32 on cpu, has NaN",
            "c": "Tensor (2,) bfloat16 on cpu, has infinity, from -inf to 1",
            "d": "Tensor (3,) int64 on cpu, 0",
            "e": "Parameter (2,) float32 on cpu, requires grad, 1",
            "f": "Tensor (4, 5) float32 on meta",
            "g": "Tensor () float32 on cpu, 2.5",
            "h": "Tensor (2,) bool on cpu",
            "i": "ndarray (2, 2) float32, 1",
            "j": "ndarray (2,) object",
            "k": "Tensor (0, 7) float32 on cpu",
        }

    def test_of_a_module(self, program: Program) -> None:
        program.run(
            "import torch\n"
            "class SAE(torch.nn.Module):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.W = torch.nn.Parameter(torch.zeros(2, 3))\n"
            "        self.register_buffer('ema', torch.ones(3))\n"
            "    def fail(self, acts):\n"
            "        return self.ema + acts @ self.W @ acts\n"
            "SAE().fail(torch.ones(4, 2))\n"
        )
        assert values(program) == {
            "self": "SAE",
            "self.ema": "Tensor (3,) float32 on cpu, 1",
            "acts": "Tensor (4, 2) float32 on cpu, 1",
            "self.W": "Parameter (2, 3) float32 on cpu, requires grad, 0",
        }

    def test_a_forked_worker_reads_no_elements(self, program: Program) -> None:
        """Its thread pool stayed with its parent: a parallel operation would wait for ever."""
        done = program.run(
            "import multiprocessing, torch\n"
            "torch.set_num_threads(2)\n"
            "x = torch.ones(2000, 2000) @ torch.ones(2000, 2000)\n"
            "def fail():\n"
            "    local = x\n"
            "    raise ValueError(local.shape)\n"
            "worker = multiprocessing.get_context('fork').Process(target=fail)\n"
            "worker.start(); worker.join(); print(worker.exitcode)\n"
        )
        assert done.stdout == "1\n"
        assert values(program) == {"local": "Tensor (2000, 2000) float32 on cpu"}

    def test_subclasses_and_modes_of_the_program_do_not_run(self, program: Program) -> None:
        done = program.run(
            in_function(
                *LOUD,
                "import torch",
                "from torch.utils._python_dispatch import TorchDispatchMode",
                "class P(torch.Tensor):",
                "    shape = dtype = device = layout = requires_grad = property(loud)",
                "    __torch_function__ = classmethod(loud)",
                "class D(torch.Tensor): __torch_dispatch__ = classmethod(loud)",
                "class M(TorchDispatchMode): __torch_dispatch__ = loud",
                "class F(torch.overrides.TorchFunctionMode): __torch_function__ = loud",
                "p = torch.Tensor._make_subclass(P, torch.ones(3))",
                "d = torch.Tensor._make_wrapper_subclass(D, (3,))",
                "x = torch.ones(3); m, f = M(), F()",
                "m.__enter__(); f.__enter__()",
                last="1 / 0; p, d, x",
            )
        )
        told = values(program)
        assert done.returncode == 1 and "ran" not in done.stdout
        assert told["p"].endswith("P (3,) float32 on cpu") and told["d"].endswith("D")
        assert told["x"] == "Tensor (3,) float32 on cpu"

    def test_memory_that_cannot_be_read(self, program: Program) -> None:
        """Of a file that has shrunk, given back, or never there; the exit code is the program's own."""
        done = program.run(
            "import os, torch\n"
            "def fail():\n"
            "    torch.save(torch.ones(10**6), 'm.pt')\n"
            "    a = torch.load('m.pt', mmap=True); os.truncate('m.pt', 0)\n"
            "    b = torch.ones(10); b.untyped_storage().resize_(0)\n"
            "    c = torch.zeros(1).expand(2**31)\n"
            "    1 / 0\n"
            "fail()\n"
        )
        assert done.returncode == 1
        assert values(program) == {
            "a": "Tensor (1000000,) float32 on cpu",
            "b": "Tensor (10,) float32 on cpu",
            "c": "Tensor (2147483648,) float32 on cpu",
        }

    def test_inside_a_transform(self, program: Program) -> None:
        program.run(
            "import torch\ndef fail(x):\n    return x.gone\ntorch.vmap(fail)(torch.ones(3, 2))\n"
        )
        assert values(program) == {"x": "Tensor (2,) float32 on cpu"}
