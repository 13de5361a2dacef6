"""Placeholders for code in REPLACE: which lines are refused as one, and which are text."""

from __future__ import annotations

import sysconfig
import time
from pathlib import Path

import pytest
from edit_replies import NAME, block, new_text, refusal

from agent_runner.edits import apply_reply
from agent_runner.edits.placeholders import placeholder

BODY = "def f(a):\n    x = 1\n    y = 2\n    return x + y\n\n\ndef g(a):\n    return a\n"


def _refused(search: str, replace: str, text: str, line: str, name: str = NAME) -> None:
    reply = block(search, replace, name=name)
    problem = refusal(apply_reply(reply, {name: text}))
    assert problem.kind == "malformed"
    row = reply.split("\n").index(line, reply.split("\n").index("=======")) + 1
    assert problem.reply_line == row
    assert "placeholder" in problem.message and f"reply line {row}" in problem.message


def _applied(search: str, replace: str, text: str, name: str = NAME) -> None:
    outcome = apply_reply(block(search, replace, name=name), {name: text})
    assert new_text(outcome) == text.replace(search, replace)


# ---------------------------------------------------------------- refused

LAZY = """\
# --- rest of code unchanged ---
# === rest of the code unchanged ===
# *** existing code ***
# rest of code (unchanged)
# rest of code: unchanged
# rest of code, unchanged
# rest of code - unchanged
# Rest of code unchanged (see original)
# NOTE: rest of code unchanged
# [UNCHANGED] rest of file
# ... snip ...
# --- snip ---
# ... implementation ...
# ... function body ...
# ... skipped ...
# ... 20 more lines ...
# ... do not change ...
# ..rest of code..
# ...
#...
# ⋯
# …
# . . .
# [...]
# omitted for brevity
# (same as original)
# same as the original
# as in the original
# unchanged from original
# unchanged from here
# no changes below this point
# no changes to the rest of the file
# No other changes
# nothing else changes
# everything below unchanged
# everything else stays the same
# rest of main() unchanged
# rest of `main` unchanged
# rest of experiment.py unchanged
# lines 12-20 unchanged
# continue with existing code
# Keep the rest of the code as is
# more code here
# your existing code here
# (code skipped)
# code omitted
# rest of the file doesn't change
# rest of the file doesn’t change
# the rest of the class is unchanged
# All other methods remain unchanged
# ... (rest of the training loop)
# ... other methods ...
# ... (same preprocessing as in the original, left out)
# existing implementation...
# <existing code>
pass  # rest of code unchanged
pass  # ... existing code ...
z = 3  # rest of the function unchanged
// ... existing code ...
// rest of the code unchanged
<!-- ... -->
/* ... */
{/* ... existing code ... */}
-- rest unchanged
... rest of code ...
[rest of the code]
(rest of the code unchanged)
...
…
""".splitlines()


@pytest.mark.parametrize("indent", ["", "    "])
@pytest.mark.parametrize("line", LAZY)
def test_in_the_place_of_code(line: str, indent: str) -> None:
    _refused(BODY, f"def f(a):\n    x = 2\n{indent}{line}\n", BODY, indent + line)


@pytest.mark.parametrize("line", [line for line in LAZY if line != "..."])
def test_sure_wordings_are_refused_above_new_code_too(line: str) -> None:
    _refused(BODY, f"def f(a):\n    {line}\n    return new(a)\n", BODY, f"    {line}")


@pytest.mark.parametrize(
    "line",
    [
        "// ... existing code ...",
        "  /* rest of the function unchanged */",
        "  // rest unchanged",
        "}  // rest of the code unchanged",
        "-- rest unchanged",
        "; rest of the code unchanged",
        "% rest of the file unchanged",
        "...",
        "{/* ... */}",
    ],
)
def test_in_other_languages(line: str) -> None:
    text = "let a = 1;\nlet b = 2;\nlet c = 3;\n"
    _refused(text, f"let a = 4;\n{line}\n", text, line, name="a.js")


WEAK = """\
# remaining layers
# previous layers
# remaining arguments
# existing file
# same as above
# same setup as above
# imports here
# imports below
# training loop below
# other parameters are unchanged
# keep the existing file
# no change
# unchanged
# same as before
# imports (unchanged)
""".splitlines()


@pytest.mark.parametrize("line", [*WEAK[-4:], "# training loop ...", "# load the data ..."])
def test_a_heading_is_refused_where_lines_are_gone_and_nothing_new_follows(line: str) -> None:
    _refused(BODY, f"def f(a):\n    x = 2\n    {line}\n", BODY, f"    {line}")
    kept = f"def f(a):\n    {line}\n    return x + y\n"
    _refused(BODY.split("\n\n\n")[0] + "\n", kept, BODY, f"    {line}")


# ---------------------------------------------------------------- let through


@pytest.mark.parametrize("line", WEAK)
def test_a_heading_of_new_code_is_a_comment(line: str) -> None:
    _applied(BODY, f"def f(a):\n    {line}\n    z = new(a)\n    return z\n", BODY)
    _applied(BODY, f"def f(a):\n    {line}\n\n    for b in a:\n        z = b\n", BODY)


@pytest.mark.parametrize("line", WEAK)
def test_a_heading_where_nothing_is_gone_is_a_comment(line: str) -> None:
    _applied("    return x + y\n", f"    {line}\n    return x + y\n", BODY)
    _applied("    x = 1\n    y = 2\n", f"    x = 3\n    {line}\n    y = 2\n", BODY)


@pytest.mark.parametrize(
    "line",
    [
        "# rest of the data goes to the validation set",
        "# the rest of the features stay zero",
        "# zero the rest of the row",
        "# existing checkpoints are not overwritten",
        "# existing_code = unchanged",
        "# a.rest(code)",
        "# rest",
        "# .. note:: the layers are shared",
        "# .........................................",
        "# 1, 2, 3, ...",
        "# everything that is learnt",
        "# code points, not bytes",
        "# nothing is returned",
        "z = 3  # same as the original",
        "z = 3  # unchanged",
        "z = 3  # existing code",
        "z = '# rest of code unchanged'",
        'z = "... existing code ..."',
        "z = a[..., 0]",
        "print('...')",
        "z = [*rest, *existing]",
        "# " + "rest of the code unchanged " * 9,
    ],
)
def test_a_comment_that_says_something_else(line: str) -> None:
    _applied(BODY, f"def f(a):\n    x = 2\n    {line}\n", BODY)


def test_the_end_of_a_sentence_is_no_placeholder() -> None:
    above = "# " + "reads until the first blank line " * 2 + "and skips"
    code = f"def f(a):\n    {above}\n    # the rest of the file\n    skip(a)\n"
    _applied(BODY, code, BODY)


@pytest.mark.parametrize(
    "line", ["# rest of the code unchanged", "# ... existing code ...", "# ..."]
)
def test_a_line_of_search_is_text(line: str) -> None:
    text = f"{line}\na = 1\nb = 2\n"
    _applied(text, f"{line}\na = 3\n", text)


def test_a_line_of_the_file_is_text_unless_it_is_bare_dots() -> None:
    text = "# existing code\nq = 1\n\n" + BODY
    _applied("    x = 1\n    y = 2\n", "    # existing code\n", text)
    for dots in ("# ...", "    ...", "#…"):
        text = f"if q:\n    {dots.strip()}\n    q = 1\n\n" + BODY
        _refused("    x = 1\n    y = 2\n", f"    x = 2\n{dots}\n", text, dots)


# ---------------------------------------------------------------- strings


@pytest.mark.parametrize(
    "string",
    [
        'def f(a):\n    """Doc.\n\n    >>> for b in a:\n    ...     print(b)\n    ...\n    """\n',
        'PROMPT = """\n# ... existing code ...\n# rest of code unchanged\n...\n"""\n',
        "PROMPT = '''\n# ...\n\"\"\"\n// rest of the code unchanged\n'''\n",
        'P = f"""\n{x["a"]} it\'s\n# ... existing code ...\n"""\n',
        'P = r"""\\\n# ...\n"""\n',
        "P = 'a\\\n# ...\\\n'\n",
    ],
)  # fmt: skip
def test_nothing_in_a_string_of_several_lines_is_a_placeholder(string: str) -> None:
    _applied(BODY, string, BODY)


def test_a_block_in_the_middle_of_a_string_of_the_file() -> None:
    text = 'PROMPT = """\nalpha\nbeta\n"""\na = 1\nb = 2\n'
    for kept in (text, text.replace("\n", "\r\n")):
        outcome = apply_reply(block("alpha\nbeta\n", "# ... existing code ...\n"), {NAME: kept})
        assert "# ... existing code ..." in new_text(outcome)
    _refused("a = 1\nb = 2\n", "# ... existing code ...\n", text, "# ... existing code ...")


def test_a_comment_below_a_string_is_none() -> None:
    line = "# ... existing code ..."
    _refused(BODY, f'P = """\n"""\n{line}\n', BODY, line)
    _refused(BODY, f'# an odd """ in a comment\n{line}\n', BODY, line)
    _refused(BODY, f'p = \'"""\'\n{line}\n', BODY, line)


# ---------------------------------------------------------------- ... as code


@pytest.mark.parametrize(
    "code",
    [
        "class P:\n    def g(self):  # stub\n        ...\n",
        'class P:\n    def g(self):\n        """Doc."""\n        ...\n',
        "class P:\n    def g(self):\n        'Doc.'\n        ...\n",
        'class P:\n    def g(self):\n        r"""Doc.\n\n        More: yes:\n        """\n\n        ...\n',
        "class P:\n    def g(self):\n        # nothing to do\n        ...\n\n    h = 1\n",
        "class P:\n    def g(\n        self, a: int\n    ) -> int:\n        ...\n\n    h = 1\n",
        "try:\n    a = 1\nexcept ValueError:\n    ...\n",
        "match a:\n    case 1:\n        ...\n    case _:\n        b = 1\n",
        "class A(Protocol): ...\n",
        "class A(Protocol):\n    ...\n",
        "@overload\ndef h(a: int): ...\n@overload\ndef h(a: str):\n    ...\ndef h(a):\n    return a\n",
        "async def h():\n    ...  # pragma: no cover\n",
        "y = x[\n    ...,\n    0]\n",
        "y = x[\n    0,\n    ...,\n]\n",
        "y = Field(\n    ...,\n    gt=0,\n)\n",
        "y: tuple[\n    int,\n    ...\n]\n",
    ],
)  # fmt: skip
def test_dots_that_are_code(code: str) -> None:
    _applied("q = 1\n", code, "q = 1\n")


@pytest.mark.parametrize(
    "code",
    [
        "def h(a):\n    ...\n    return a\n",
        "def h(a):\n    a = 2\n    ...\n",
        "def h(a):\n    a = 2\n\n    # and so on\n    ...\n",
        "class P:\n    a = 1\n    ...\n",
        "for i in a:\n    ...\n",
        "with open(a):\n    ...\n",
        "...\ndef h(a):\n    return 2\n",
        "a = [\n    1,\n    ...\n]\n",
        "a = [\n    1,\n    ...,\n    9,\n]\n",
        "a = dict(\n    b=1,\n    ...\n)\n",
        "def h(a):\n    ...  # existing code\n",
    ],
)
def test_dots_that_leave_code_out(code: str) -> None:
    line = next(line for line in code.split("\n") if "..." in line)
    _refused("q = 1\n", code, "q = 1\n", line)


@pytest.mark.parametrize("stub", ["def f(a): ...", "def f(a, b=1):\n    ..."])
def test_a_stub_in_the_place_of_a_body_that_search_writes_out(stub: str) -> None:
    _refused(BODY, f"{stub}\n\n\ndef g(a):\n    return -a\n", BODY, stub.split("\n")[-1])
    _applied(BODY, f"@abstractmethod\n{stub}\n", BODY)
    _applied("def g(a):\n    return a\n", "def g(a):\n    ...\n", BODY)


def test_a_stub_above_more_of_the_body_in_the_file() -> None:
    _refused("def f(a):\n    x = 1\n", "def f(a):\n    ...\n", BODY, "    ...")


@pytest.mark.parametrize("name", ["a.md", "a.txt", "docs/a.rst", "a.yaml"])
def test_bare_dots_are_text_in_prose(name: str) -> None:
    text = "alpha\nbeta\ngamma\n"
    _applied("beta\ngamma\n", "...\n", text, name)
    line = "... rest of the file unchanged ..."
    _refused("beta\ngamma\n", f"{line}\n", text, line, name)


@pytest.mark.parametrize(
    "line", ["# Existing code", "- Rest of the code is unchanged", "# Same setup", "Code:"]
)
def test_headings_and_items_are_text_in_prose(line: str) -> None:
    text = "alpha\nbeta\ngamma\n"
    _applied("beta\ngamma\n", f"{line}\n", text, "a.md")


def test_javascript_has_dots_of_its_own() -> None:
    text = "a = {\n  b,\n  c,\n  d,\n}\n"
    _applied("  c,\n  d,\n", "  ...rest,\n  ...existing,\n", text, "a.js")


# ---------------------------------------------------------------- false alarms, time


def test_the_standard_library_holds_next_to_no_placeholders() -> None:
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*/*.py"))
    paths = [
        path
        for path in paths
        if not path.parts[-2].startswith(("test", "site-packages", "lib2to3"))
    ]
    flagged: list[str] = []
    count = 0
    for path in paths[::2]:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        count += len(lines)
        index = placeholder("a.py", lines, (), "")
        if index is not None:
            flagged.append(f"{path}:{index + 1}: {lines[index]}")
    assert count > 10_000
    assert len(flagged) <= 3, "\n".join(flagged)


@pytest.mark.parametrize(
    "line",
    [
        "# " + "rest of " * 12_500,
        "# " + "as above " * 11_000,
        "# rest of" + " " * 100_000 + "code",
        "# " + ". " * 50_000,
        "." * 100_000,
        "#" * 100_000 + " rest of code",
        "a(" * 50_000 + "...",
        "x  #" * 25_000 + " rest of code",
        '"""\\' * 25_000 + "...",
        "# ... " + "`" * 99_999,
        "# rest " + "_" * 150 + "remains as not no " * 3,
    ],
)
@pytest.mark.parametrize("name", ["a.py", "a.js"])
def test_long_lines_take_little_time(line: str, name: str) -> None:
    began = time.perf_counter()
    placeholder(name, [line, line], ["a = 1", "b = 2"], "a = 1\nb = 2\n")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "line", ["# same as above", "x = (", "def f(): ...", "    ...,", "# ... a", "x[", "'''"]
)
def test_many_lines_take_little_time(line: str) -> None:
    lines = [f"{line}{' ' * (row % 7)}" for row in range(20_000)]
    began = time.perf_counter()
    placeholder("a.py", lines, ["a = 1", "b = 2"], "a = 1\nb = 2\n" * 1000)
    assert time.perf_counter() - began < 4
