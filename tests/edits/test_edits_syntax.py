"""The syntax guard: judged piece by piece, it says what compiling the whole file, old and new, would say."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply, syntax
from agent_runner.edits.draft import Draft

# Statements of module level, with whatever makes a line look like the beginning of another.
STATEMENTS = (
    "import os\n",
    "from __future__ import annotations\n",
    "x = 1\n",
    "x = (\n    1,\n)\n",
    "x = 1 + \\\n    2\n",
    'TEXT = """\ndef not_code():\n    pass\n"""\n',
    "TEXT = '''\nclass Neither\n'''\n",
    'TEXT = f"""\n{x}\n"""\n',
    'TEXT = r"""\\"""\n',
    "TEXT = 'a \\\ndef b'\n",
    'TEXT = """\ndef f():\n    """ if x else """z"""\n',
    'TEXT = """\n""" """\ndef f(): """\n',
    'TEXT = ("""\ndef f():\n""" r"b")\n',
    '"""Doc.\n\nText """; x = 1\n',
    "TEXT = '''\n    \"\"\"Doc.\"\"\"\ndef f():\n'''\n",
    'TEXT = """\\\ndef f():\n    """\n',
    '# """ a comment\'s\n',
    'x = \'"""\'\n',
    "def f(a):\n    return a\n",
    'def f(a):\n    """Doc.\n\n    def example(): ...\n    """\n    return a\n',
    "@cache\ndef f(a):\n    return a\n",
    "@cache(\n    1\n)\nclass A:\n    y = 1\n",
    "class A:\n    def f(self):\n        return 1\n\n    def g(self):\n        return 2\n",
    "class A:\n    @property\n    def f(self):\n        yield 1\n\n    async def g(self):\n        await x\n",
    "class A:\n\tdef f(self):\n\t\treturn 1\n\n\tdef g(self):\n\t\treturn 2\n",
    "def outer():\n    n = 0\n    def inner():\n        nonlocal n\n        n = 1\n    return inner\n",
    "def f():\n    global x\n    x = 2\n",
    "if x:\n    def f():\n        pass\nelse:\n    def f():\n        return 1\n",
    "try:\n    import json\nexcept ImportError:\n    def f():\n        pass\n",
    "for i in x:\n    pass\n",
    "async def f():\n    async with x as y:\n        return [z async for z in y]\n",
)
LINES = (
    "", "x = 2", "    x = 2", "        x = 2", "  x = 2", "\tx = 2", "def f():", "    def g(self):",
    "class A:", "    pass", "        pass", '"""', "'''", "(", ")", "@cache", "    @cache", "x = 1 \\",
    "# '''", "else:", "    else:", "try:", "return 1", "    return 1", "        return 1", "    yield 1",
    "    await x", "global x", "    global x", "    nonlocal n", "from __future__ import annotations",
    "from os import *", "    from os import *", "x: (yield) = 1", 'f"""', '    """Doc."""', "    break",
    "if x: \\", "    if x:",
)  # fmt: skip


def parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, "module.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    """A file that parses, with one to three runs of its lines replaced."""
    statements = draw(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=7))
    text = "\n".join(statements) if draw(st.booleans()) else "".join(statements)
    draft = Draft(text)
    for block in range(draw(st.integers(1, 3))):
        lines = draft.text.splitlines(keepends=True)
        low = draw(st.integers(0, len(lines)))
        high = min(len(lines), low + draw(st.integers(0, 2)))
        new = "".join(f"{line}\n" for line in draw(st.lists(st.sampled_from(LINES), max_size=3)))
        start, end = len("".join(lines[:low])), len("".join(lines[:high]))
        draft.splice(start, end, [new], block + 1)
    return draft


@settings(max_examples=600, deadline=None)
@given(drafts())
@example(Draft("x = 1\n"))
def test_a_file_is_refused_exactly_if_it_parsed_and_no_longer_does(draft: Draft) -> None:
    error = syntax.broken_syntax("module.py", draft, created=False)
    assert (error is not None) == (parses(draft.original) and not parses(draft.text))


def many(count: int) -> str:
    methods = '    def m{i}(self):\n        """Doc {i}."""\n        return {i}\n\n'
    return "".join(
        f"class C{c}:\n{''.join(methods.format(i=i) for i in range(20))}\n" for c in range(count)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        return 7\n", "        return 8\n"),
        ("        return 7\n", "        return 8\n\n    def more(self):\n        return 9\n"),
        ("class C3:\n", "class C3(Base):\n"),
    ],
)
def test_only_what_is_touched_is_compiled(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []
    real = syntax._syntax_error

    def counting(path: str, text: str, flags: int = 0) -> SyntaxError | None:
        compiled.append(len(text))
        return real(path, text, flags)

    monkeypatch.setattr(syntax, "_syntax_error", counting)
    text = many(40)
    place = text.index(old, text.index("class C3:"))
    draft = Draft(text)
    draft.splice(place, place + len(old), [new], 1)
    assert syntax.broken_syntax("module.py", draft, created=False) is None
    assert sum(compiled) < len(text) / 10


def test_the_error_is_that_of_the_whole_file() -> None:
    text = many(3) + "last = 1\n"
    line = text.count("\n")
    reply = "m.py\n<<<<<<< SEARCH\nlast = 1\n=======\nlast = 0\nlast = (1\n>>>>>>> REPLACE\n"
    outcome = apply_reply(reply, {"m.py": text})
    assert outcome.kind == "malformed"
    assert f"line {line + 1} of the new file" in outcome.message
    assert f"> {line + 1:>4} |last = (1" in outcome.message
    problem = outcome.problems[0]
    assert problem.block == 1 and problem.reply_line == 2
    assert problem.line == line and problem.lines == [line]


def test_a_warning_of_the_compiler_is_no_error() -> None:
    reply = "m.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = '\\d' is 1\n>>>>>>> REPLACE\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert apply_reply(reply, {"m.py": "x = 1\n"}).applied


def test_broken_syntax_is_told_beside_what_fails_in_other_files() -> None:
    reply = "a.py\n<<<<<<< SEARCH\nx = 1\n=======\nx = (1\n>>>>>>> REPLACE\n"
    reply += "b.py\n<<<<<<< SEARCH\nno\n=======\nyes\n>>>>>>> REPLACE\n"
    outcome = apply_reply(reply, {"a.py": "x = 1\n", "b.py": "y = 1\n"})
    assert [(p.kind, p.block, p.path) for p in outcome.problems] == [
        ("malformed", 1, "a.py"),
        ("no_match", 2, "b.py"),
    ]
    assert outcome.message.startswith("Nothing was changed: 2 of 2 blocks cannot be applied")
