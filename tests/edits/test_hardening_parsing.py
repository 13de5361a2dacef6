"""What counts as a block, and which file it is for (points 1 and 5 of the engine's task)."""

from __future__ import annotations

import pytest
from hardening import NAME, applied, block, changed, edit, fenced, refused

from agent_runner.edits import apply_reply

TEXT = "import os\n\nlr = 0.1\nsteps = 10\n"
DONE = "import os\n\nlr = 0.2\nsteps = 10\n"
ONE = block("lr = 0.1\n", "lr = 0.2\n")


@pytest.mark.parametrize(
    "above",
    [
        "experiment.py\n```python\n",
        "experiment.py\n```\n",
        "experiment.py\n\n```python\n",
        "**experiment.py**\n```python\n",
        "`experiment.py`\n```python\n",
        "**`experiment.py`**\n```python\n",
        "`experiment.py`:\n```python\n",
        "**experiment.py:**\n```python\n",
        "**experiment.py**:\n```python\n",
        "# experiment.py\n```python\n",
        "### `experiment.py`\n```python\n",
        "#### **experiment.py**\n\n```python\n",
        "- experiment.py\n```python\n",
        "* `experiment.py`:\n```python\n",
        "1. experiment.py\n```python\n",
        "2) `experiment.py`\n```python\n",
        "experiment.py:\n```python\n",
        "File: experiment.py\n```python\n",
        "**File: `experiment.py`**\n```python\n",
        "**File:** `experiment.py`\n```python\n",
        "### File: experiment.py\n```python\n",
        "Filename: experiment.py\n```python\n",
        "./experiment.py\n```python\n",
        '"experiment.py"\n```python\n',
        "[experiment.py](experiment.py)\n```python\n",
        "experiment.py (lines 3-4)\n```python\n",
        "> experiment.py\n```python\n",
        "```python experiment.py\n",
        "```python:experiment.py\n",
        "```experiment.py\n",
        '```python title="experiment.py"\n',
        "```python {file=experiment.py}\n",
        "```python\nexperiment.py\n",
        "```python\n# experiment.py\n",
        "```\nexperiment.py\n```\n```python\n",
        "Now I change `experiment.py` so that the learning rate is higher:\n\n```python\n",
        "In experiment.py, the learning rate is too low.\n```python\n",
        "~~~python experiment.py\n",
        "`````python experiment.py\n",
        "experiment.py\n",
    ],
)
def test_file_is_read_in_every_decoration(above: str) -> None:
    files = {NAME: TEXT, "other.py": TEXT, "notes.md": "lr = 0.1\n"}
    assert applied(above + ONE + "```\n", files) == {NAME: DONE}


@pytest.mark.parametrize("name", ["__init__.py", "a_b/_private_.py", "Makefile", "src/a.test.py"])
@pytest.mark.parametrize("form", ["{}", "**{}**", "`{}`", "### {}", "- `{}`:"])
def test_names_keep_their_own_underscores_and_folders(name: str, form: str) -> None:
    files = {name: TEXT, "zz.txt": TEXT}
    assert applied(f"{form.format(name)}\n```\n{ONE}```\n", files) == {name: DONE}


def test_base_name_maps_only_where_it_is_unique() -> None:
    assert applied(edit("lr = 0.1\n", "lr = 0.2\n", name="b.py"), {"a/b.py": TEXT, "c.py": TEXT})
    two = {"a/b.py": TEXT, "c/b.py": TEXT}
    outcome = apply_reply(edit("lr = 0.1\n", "lr = 0.2\n", name="b.py"), two)
    assert not outcome.applied


def test_bare_fence_is_for_the_only_file_there_is() -> None:
    assert changed(edit("lr = 0.1\n", "lr = 0.2\n", name=None), TEXT) == DONE


def test_bare_fence_is_for_the_only_editable_file() -> None:
    files = {NAME: TEXT, "other.py": TEXT}
    reply = edit("lr = 0.1\n", "lr = 0.2\n", name=None)
    assert applied(reply, files, [NAME]) == {NAME: DONE}


def test_bare_fence_with_one_exact_holder_is_certain_and_with_two_is_not() -> None:
    reply = edit("lr = 0.1\n", "lr = 0.2\n", name=None)
    assert applied(reply, {NAME: TEXT, "other.py": "x = 1\n"}) == {NAME: DONE}
    kinds = ["malformed", "ambiguous", "path_forbidden", "no_match"]
    refused(reply, {NAME: TEXT, "other.py": TEXT}, kinds)


def test_an_unnamed_block_follows_the_one_before_it() -> None:
    files = {NAME: TEXT, "other.py": "steps = 10\nend = 1\n"}
    reply = (
        edit("lr = 0.1\n", "lr = 0.2\n")
        + "\nAnd then:\n\n"
        + edit("import os\n", "import sys\n", name=None)
    )
    assert applied(reply, files) == {NAME: DONE.replace("import os", "import sys")}


@pytest.mark.parametrize("marks", [5, 6, 7, 8, 9])
def test_markers_of_five_to_nine(marks: int) -> None:
    assert changed(fenced(block("lr = 0.1\n", "lr = 0.2\n", marks)), TEXT) == DONE


@pytest.mark.parametrize("marks", [3, 4, 10, 12])
def test_other_lengths_are_malformed_and_not_silence(marks: int) -> None:
    refused(fenced(block("lr = 0.1\n", "lr = 0.2\n", marks)), TEXT, ["malformed", "no_edits"])


@pytest.mark.parametrize("marks", [3, 4, 10, 12])
def test_a_block_with_wrong_markers_stops_its_neighbours_too(marks: int) -> None:
    reply = fenced(block("lr = 0.1\n", "lr = 0.2\n", marks), block("steps = 10\n", "steps = 9\n"))
    refused(reply, TEXT, "malformed")


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("<<<<<<< SEARCH", ">>>>>>> REPLACE"),
        ("<<<<<<< SEARCH>", ">>>>>>> REPLACE>"),
        ("<<<<<<<SEARCH", ">>>>>>>REPLACE"),
        ("<<<<<<< search", ">>>>>>> replace"),
        ("<<<<<<< SEARCH   ", ">>>>>>> REPLACE\t"),
    ],
)
def test_spellings_of_markers(head: str, tail: str) -> None:
    reply = f"{NAME}\n```\n{head}\nlr = 0.1\n=======\nlr = 0.2\n{tail}\n```\n"
    assert changed(reply, TEXT) == DONE


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("Only words.", "no_edits"),
        ("", "no_edits"),
        ("```python\nlr = 0.2\n```\n", "no_edits"),
        ("<<<<<<< SEARCH\nlr = 0.1\n", "malformed"),
        ("<<<<<<< SEARCH\nlr = 0.1\n=======\n", "malformed"),
        ("<<<<<<< SEARCH\nlr = 0.1\n=======\nlr = 0.2\n", "malformed"),
        ("<<<<<<< SEARCH\nlr = 0.1\n=======\nlr = 0.2\n```\nThat was it.\n", "malformed"),
        ("<<<<<<< SEARCH\nlr = 0.1\n>>>>>>> REPLACE\n", "malformed"),
        (">>>>>>> REPLACE\nlr = 0.1\n=======\nlr = 0.2\n<<<<<<< SEARCH\n", "malformed"),
        ("<<<<<<< REPLACE\nlr = 0.2\n=======\nlr = 0.1\n>>>>>>> SEARCH\n", "malformed"),
        ("<<<<<<< HEAD\nlr = 0.1\n=======\nlr = 0.2\n>>>>>>> main\n", "malformed"),
        ("<<<<<<< ORIGINAL\nlr = 0.1\n=======\nlr = 0.2\n>>>>>>> UPDATED\n", "malformed"),
        (
            "<<<<<<< SEARCH\nlr = 0.1\n=======\nlr = 0.2\n=======\nlr = 0.3\n>>>>>>> REPLACE\n",
            "malformed",
        ),
        ("=======\nlr = 0.2\n>>>>>>> REPLACE\n", "malformed"),
        (
            "<<<<<<< SEARCH experiment.py\nlr = 0.1\n=======\nlr = 0.2\n>>>>>>> REPLACE\n",
            "malformed",
        ),
    ],
)
def test_what_is_no_block_is_never_closed_by_guess(reply: str, kind: str) -> None:
    refused(f"{NAME}\n{reply}", TEXT, kind)


def test_first_block_open_second_whole_changes_nothing() -> None:
    reply = f"{NAME}\n```\n<<<<<<< SEARCH\nlr = 0.1\n=======\nlr = 0.2\n```\n" + edit(
        "steps = 10\n", "steps = 9\n"
    )
    refused(reply, TEXT, "malformed")


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_reply_cut_anywhere_inside_its_second_block_changes_nothing(cut: int) -> None:
    second = "<<<<<<< SEARCH\nsteps = 10\n=======\nsteps = 9\n>>>>>>> REPLACE\n"
    reply = f"{NAME}\n```\n{ONE}" + second[: len(second) * cut // 12]
    outcome = apply_reply(reply, {NAME: TEXT})
    assert not outcome.applied and outcome.kind == "malformed"


def test_text_that_holds_a_divider_needs_longer_markers_and_is_told_so() -> None:
    text = "Title\n=======\nbody\n"
    outcome = refused(edit("Title\n=======\nbody\n", "Title\n=======\nnew\n"), text, "malformed")
    assert "<<<<<<<<< SEARCH" in outcome.message
    long = fenced(block("Title\n=======\nbody\n", "Title\n=======\nnew\n", 9))
    assert changed(long, text) == "Title\n=======\nnew\n"


@pytest.mark.parametrize("underline", ["=====", "======", "========", "==========", "    ======="])
def test_a_divider_of_another_shape_is_text(underline: str) -> None:
    text = f"Title\n{underline}\nbody\n"
    reply = edit(f"Title\n{underline}\nbody\n", f"Title\n{underline}\nnew\n")
    assert changed(reply, text) == f"Title\n{underline}\nnew\n"


def test_text_that_holds_whole_blocks() -> None:
    inner = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n"
    text = f"before\n{inner}after\n"
    new = inner.replace("b\n", "c\n")
    assert changed(fenced(block(inner, new, 9)), text) == f"before\n{new}after\n"


def test_text_that_holds_indented_blocks_in_seven_character_markers() -> None:
    inner = "    <<<<<<< SEARCH\n    a\n    =======\n    b\n    >>>>>>> REPLACE\n"
    text = f"before\n{inner}after\n"
    new = inner.replace("    b\n", "    c\n")
    assert changed(edit(inner, new), text) == f"before\n{new}after\n"


def test_a_fence_inside_the_text_is_text() -> None:
    text = "intro\n```python\nx = 1\n```\nend\n"
    reply = edit("```python\nx = 1\n```\n", "```python\nx = 2\n```\n", fence="````", info="")
    assert changed(reply, text) == text.replace("x = 1", "x = 2")


def test_a_replace_line_that_ends_in_the_files_name_is_text() -> None:
    reply = edit("lr = 0.1\n", "# run: python experiment.py\nlr = 0.2\n")
    assert changed(reply, TEXT) == TEXT.replace(
        "lr = 0.1\n", "# run: python experiment.py\nlr = 0.2\n"
    )
    reply = edit("# run: python experiment.py\n", "# run: python -u experiment.py\n")
    assert changed(reply, "# run: python experiment.py\n") == "# run: python -u experiment.py\n"


def test_several_blocks_in_one_fence_in_several_and_in_none() -> None:
    one, two = block("lr = 0.1\n", "lr = 0.2\n"), block("steps = 10\n", "steps = 9\n")
    new = DONE.replace("10", "9")
    assert changed(fenced(one, two), TEXT) == new
    assert changed(fenced(one) + "More words.\n\n" + fenced(two), TEXT) == new
    assert changed(f"{NAME}\n{one}{two}", TEXT) == new
    assert changed(f"{NAME}\n{one}\nWords.\n\n{two}", TEXT) == new


def test_a_block_in_a_list_item_is_indented_as_a_whole() -> None:
    reply = (
        "1. Change `experiment.py`:\n\n   ```python\n"
        + block("   lr = 0.1\n", "   lr = 0.2\n   eps = 1\n", indent="   ")
        + "   ```\n"
    )
    assert changed(reply, TEXT) == TEXT.replace("lr = 0.1\n", "lr = 0.2\neps = 1\n")


def test_a_reply_with_crlf_line_ends() -> None:
    assert changed(edit("lr = 0.1\n", "lr = 0.2\n").replace("\n", "\r\n"), TEXT) == DONE


def test_only_line_feeds_end_a_line() -> None:
    text = "a = '\x0c\u2028\x85'\nb = 1\n"
    assert changed(edit("b = 1\n", "b = 2\n"), text) == "a = '\x0c\u2028\x85'\nb = 2\n"
    assert (
        changed(edit("a = '\x0c\u2028\x85'\n", "a = '\u2028'\n"), text) == "a = '\u2028'\nb = 1\n"
    )


def test_a_doctest_in_prose_is_no_marker() -> None:
    prose = '>>> search("x")\n>>> replace(a, b)\nFalse\n\n'
    assert changed(prose + edit("lr = 0.1\n", "lr = 0.2\n"), TEXT) == DONE


def test_code_fenced_above_the_block_does_not_name_its_file() -> None:
    reply = "As it was:\n\n```python\nopen('other.py')\n```\n\n" + edit("lr = 0.1\n", "lr = 0.2\n")
    assert applied(reply, {NAME: TEXT, "other.py": TEXT}) == {NAME: DONE}


@pytest.mark.parametrize(
    "heading",
    [
        "### The training loop",
        "**Step 1: a higher rate**",
        "Here is the change:",
        "### 2. e.g. this",
    ],
)
def test_a_heading_that_is_a_sentence_names_no_file(heading: str) -> None:
    assert changed(edit("lr = 0.1\n", "lr = 0.2\n", name=heading), TEXT) == DONE


@pytest.mark.parametrize(
    "path",
    [
        "../experiment.py",
        "a/../../experiment.py",
        "a/../experiment.py",
        "/etc/passwd",
        "/work/experiment.py",
        "~/experiment.py",
        "$HOME/experiment.py",
        "C:\\experiment.py",
        "C:/experiment.py",
        "..\\experiment.py",
        ".git/config",
        ".git/hooks/pre-commit",
        ".GIT/config",
        "sub/.git/config",
        "unknown.py",
        "src/unknown.py",
        "harness/data.py",
    ],
)
@pytest.mark.parametrize("form", ["{}", "`{}`", "**File: `{}`**"])
def test_paths_that_may_not_be_edited(path: str, form: str) -> None:
    files = {NAME: TEXT, "harness/data.py": TEXT}
    reply = edit("lr = 0.1\n", "lr = 0.2\n", name=form.format(path))
    outcome = refused(reply, files, "path_forbidden", [NAME])
    assert NAME in outcome.message
    assert outcome.problems[0].block == 1


def test_a_forbidden_path_stays_forbidden_when_it_is_listed() -> None:
    for path in ("../x.py", ".git/config", "/etc/passwd"):
        reply = edit("lr = 0.1\n", "lr = 0.2\n", name=path)
        refused(reply, {path: TEXT, NAME: TEXT}, "path_forbidden", [path, NAME])


def test_no_similar_name_is_taken() -> None:
    for name in ("experiments.py", "Experiment.py", "experiment.pyx", "experment.py"):
        reply = edit("lr = 0.1\n", "lr = 0.2\n", name=name)
        refused(reply, TEXT, ["path_forbidden", "malformed"])


def test_creating_a_file_needs_it_to_be_listed() -> None:
    reply = edit("", "x = 1\n", name="new.py")
    assert applied(reply, {NAME: TEXT}, [NAME, "new.py"]) == {"new.py": "x = 1\n"}
    refused(reply, {NAME: TEXT}, "path_forbidden", [NAME])
    refused(reply, {NAME: TEXT}, "path_forbidden")


def test_a_search_in_a_file_that_does_not_exist_yet() -> None:
    reply = edit("y = 1\n", "x = 1\n", name="new.py")
    refused(reply, {NAME: TEXT}, "no_match", [NAME, "new.py"])


@pytest.mark.parametrize("search", ["", "\n", "\n\n", "   \n"])
def test_empty_search_on_a_text_is_refused_and_on_an_empty_file_fills_it(search: str) -> None:
    refused(edit(search, "x = 1\n"), TEXT, "malformed")
    assert changed(edit("", "x = 1\n"), "") == "x = 1\n"
