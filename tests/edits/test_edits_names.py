"""Which file a block edits: the one its author meant, by a name, prose or certainty, or none."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.edits import EditOutcome, apply_reply, apply_to_directory
from agent_runner.edits.heading import HeadingReader
from agent_runner.edits.names import Known

A = "v = 1\nw = 2\n"
ONE = {"experiment.py": A}
TWO = {"experiment.py": A, "other.py": A}  # both hold every SEARCH: the name must decide
HERE = {"experiment.py": A, "other.py": "q = 1\n"}  # only experiment.py holds it


def block(search: str, replace: str, info: str = "python") -> str:
    """One fenced block."""
    return f"```{info}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```\n"


W = block("w = 2", "w = 3")
BARE = W.removeprefix("```python\n").removesuffix("```\n")
FIRST = f"experiment.py\n{block('v = 1', 'v = 9')}\n"


def edited(outcome: EditOutcome) -> str | None:
    """The file that `w = 3` was written to; None where nothing was changed."""
    if not outcome.applied:
        assert outcome.message.startswith("Nothing was changed") and not outcome.files
        return None
    (name,) = [name for name, text in outcome.files.items() if "w = 3" in text]
    return name


def apply(
    reply: str, files: Mapping[str, str] = TWO, editable: Collection[str] | None = None
) -> str | None:
    return edited(apply_reply(reply, files, editable))


# ---------------------------------------------------------------- a name at the block


@pytest.mark.parametrize(
    "above",
    [
        "other.py\n",
        "other.py\n\n",
        "other.py\n\n---\n\n",
        "other.py\n--------\n\n",
        "other.py\n<source>\n",
        "_other.py_\n",
        "__other.py__\n",
        "*other.py*\n",
        "«other.py»\n",
        "“other.py”\n",
        "`other.py#L2`\n",
        "other.py#L1-L2\n",
        "`other.py:2`\n",
        "`other.py::train`\n",
        "other.py L1-L2\n",
        "📄 **other.py**\n",
        "→ other.py\n",
        "- [ ] other.py\n",
        "- [x] `other.py`\n",
        "| other.py |\n",
        "=== other.py ===\n",
        "--- other.py ---\n",
        "# other.py #\n",
        "<b>other.py</b>\n",
        "<file>other.py</file>\n",
        '<file path="other.py">\n',
        "other.py.\n",
        "### 2. `other.py` — raise w\n",
        "other.py: raise w\n",
        "**other.py**: raise w\n",
        "**other.py:** raise w\n",
        "other.py - raise w\n",
        "`other.py` → raise w\n",
        "other.py (lines 1-2)\n",
        "other.py (modified)\n",
        "**Edit 2 - other.py**\n",
        "### Step 2/3: `other.py`\n",
        "And in `other.py`:\n",
        "Now `other.py`:\n\n",
        "Here's the change to other.py:\n\n",
        "Here is the change:\nother.py\n",
        "Now this:\n**other.py**\n",
        "other.py — same as in experiment.py\n",
        "### other.py\nSame as in experiment.py:\n\n",
        "other.py\nexperiment.py imports it.\n\n",
    ],
)
def test_a_name_right_above_the_fence_decides(above: str) -> None:
    assert apply(above + W) == "other.py"
    assert apply(FIRST + above + W) == "other.py"


@pytest.mark.parametrize("title", ["### {}", "**{}**", "`{}`:", "2. `{}`", "## 2. {}", "File: {}"])
@pytest.mark.parametrize(
    "between",
    [
        "Raise w here too:",
        "Because w is too low, we raise it.",
        "This is not enough, so raise it (see above).",
        "It then works like experiment.py does.",
        "One.\n\nTwo.\n\n- three\n- four",
        "**Step 1**",
        "Old:\n\n```python\nw = 2\n```\n\nNew:",
    ],
)
def test_a_heading_holds_for_the_prose_below_it(title: str, between: str) -> None:
    above = f"{title.format('other.py')}\n\n{between}\n\n"
    assert apply(above + W) == "other.py"
    assert apply(FIRST + above + W) == "other.py"


@pytest.mark.parametrize(
    "above",
    [
        "### other.py\n\nNo changes are needed.\n\nRaise w:\n\n",
        "### other.py\n\nIt stays unchanged.\n\n",
        "### other.py\n\nDone.\n\n### The rate\n\nRaise it:\n\n",
        "### other.py\n\nThis follows what experiment.py needed:\n\n",
        "**other.py**\n```python\nw = 2\n```\n\nRaise it:\n\n",
        "### experiment.py\n\nThe script.\n\n### other.py\n\nHelpers.\n\nRaise w:\n\n",
        "`experiment.py`\n\nThe script.\n\n`other.py`\n\nHelpers.\n\nRaise w:\n\n",
        "- other.py\n\nThat was read.\n\n",
        "other.py (unchanged)\n",
        "other.py: not needed\n",
        "### other.py (no changes)\n\n",
    ],
)
def test_a_heading_of_another_section_or_of_a_spared_file_does_not_decide(above: str) -> None:
    assert apply(above + W) is None
    before = FIRST if "follows" not in above else f"other.py\n{block('v = 1', 'v = 9')}\n"
    assert apply(before + above + W) is None
    assert apply(above + W, HERE) == "experiment.py"


@pytest.mark.parametrize(
    "inside", ["# raise w", "...", "// w", "x = 1\n\n# more", "# as in experiment.py"]
)
def test_text_inside_the_fence_does_not_hide_the_name_above_it(inside: str) -> None:
    for above in ("other.py\n", "### other.py\n\nRaise it.\n\n"):
        reply = above + W.replace("python\n", f"python\n{inside}\n")
        assert apply(reply) == "other.py"
        assert apply(FIRST + reply) == "other.py"


@pytest.mark.parametrize(
    ("info", "inside"),
    [
        ("python", "other.py"),
        ("python", "# other.py"),
        ("html", "<!-- other.py -->"),
        ("diff", "--- other.py\n+++ other.py"),
        ("python", "# File: other.py\n# raises w"),
    ],
)
def test_a_name_inside_the_fence_decides(info: str, inside: str) -> None:
    reply = W.replace("python\n", f"{info}\n{inside}\n")
    assert apply(reply) == apply(FIRST + reply) == "other.py"


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("python other.py", "other.py"),
        ("other.py", "other.py"),
        ("python:other.py", "other.py"),
        ("python (other.py)", "other.py"),
        ("python // other.py", "other.py"),
        ("python # other.py", "other.py"),
        ("python other.py (lines 1-2)", "other.py"),
        ("1:2:other.py", "other.py"),
        ('{.python file="other.py"}', "other.py"),
        ('python title="a b.py"', "a b.py"),
        ("python a b.py", "a b.py"),
        ("python:a b.py", "a b.py"),
        ("makefile Makefile", "Makefile"),
        ("Makefile", "Makefile"),
        ("dockerfile Dockerfile", "Dockerfile"),
        ("text LICENSE", "LICENSE"),
        ("bash run", "run"),
        ("run", None),
        ("python edit other.py", None),
        ('python title="unlike other.py"', None),
        ("bash the run", None),
    ],
)
def test_info_strings(info: str, name: str | None) -> None:
    names = ("other.py", "a b.py", "b.py", "Makefile", "Dockerfile", "LICENSE", "run", "x.py")
    files = dict.fromkeys(names, A)
    assert apply(block("w = 2", "w = 3", info), files) == name
    assert apply(block("w = 2", "w = 3", f" {info}").replace("```", "~~~"), files) == name


@pytest.mark.parametrize(
    "info",
    ["SEARCH/REPLACE", 'py title="Step 1/2"', "text/x-python", 'python title="Raise w/v"', "python a b.py",
     'python title="a b.py"', "python3.11", "c++", "{.python .numberLines}", "python lr=0.1", "```"],
)  # fmt: skip
def test_an_info_string_without_a_name_is_noise(info: str) -> None:
    assert apply(block("w = 2", "w = 3", info), ONE) == "experiment.py"


@pytest.mark.parametrize(
    ("reply", "files", "name"),
    [
        ("./experiment.py\n```python experiment.py\n", TWO, "experiment.py"),
        ("x.py\n```python src/x.py\n", {"src/x.py": A, "o.py": A}, "src/x.py"),
        ("experiment.py\n```python\n# ./experiment.py\n", TWO, "experiment.py"),
        ("experiment.py\n```python other.py\n", TWO, None),
        ("experiment.py\n```python\n# other.py\n", TWO, None),
    ],
)  # fmt: skip
def test_two_names_conflict_only_where_they_are_of_two_files(
    reply: str, files: Mapping[str, str], name: str | None
) -> None:
    outcome = apply_reply(f"{reply}{BARE}```\n", files)
    assert edited(outcome) == name
    assert name or "Name the file once" in outcome.message


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("./src/a.py", "src/a.py"),
        ("src/./a.py", "src/a.py"),
        ("src//a.py", "src/a.py"),
        (".//src/a.py", "src/a.py"),
        ("a.py", "src/a.py"),
        ("lib/a.py", None),
        ("src/A.py", None),
        ("c.py", None),
        ("a.pyc", None),
    ],
)
def test_a_path_may_be_written_in_several_ways(written: str, path: str | None) -> None:
    files = {"src/a.py": A, "src/b.py": A, "x/c.py": A, "y/c.py": A}
    assert apply(f"{written}\n{W}", files) == path
    assert apply(block("w = 2", "w = 3", f"python {written}"), files) == path


def test_a_base_name_in_two_folders_is_of_the_editable_one_if_that_holds_search_exactly() -> None:
    files = {"a/x.py": A, "b/x.py": A}
    assert apply(f"x.py\n{W}", files, ["a/x.py"]) == "a/x.py"
    loose = block("    w = 2", "    w = 3")
    assert apply_reply(f"x.py\n{loose}", files, ["a/x.py"]).kind == "path_forbidden"
    assert apply_reply(f"x.py\n{W}", files).kind == "path_forbidden"


# ---------------------------------------------------------------- names that cannot be edited


@pytest.mark.parametrize(
    "above",
    ["train.py\n", "train.py\n\n", "**train.py**\n\n", "### train.py\n\nRaise it:\n\n", "File: src/train\n",
     "`src/train`\n", "main.c\n", "lib.py\n", "In lib.py:\n\n", "lib.py: raise w\n", "Here it is:\ntrain.py\n",
     "/etc/passwd\n", "~/experiment.py\n", "../experiment.py\n", "$HOME/experiment.py\n", ".git/config\n",
     "Experiment.py\n", "src/experiment.py\n"],
)  # fmt: skip
def test_a_named_file_that_cannot_be_edited_is_refused_and_never_another_one_edited(
    above: str,
) -> None:
    files = {"experiment.py": A, "lib.py": A}
    for reply in (above + W, FIRST + above + W):
        outcome = apply_reply(reply, files, ["experiment.py"])
        assert outcome.kind == "path_forbidden", outcome.message
        assert "`experiment.py`" in outcome.message


@pytest.mark.parametrize(
    "above",
    ["Leave lib.py alone.\n\n", "In experiment.py, which imports lib.py, raise w:\n\n",
     "<think>\nlib.py is imported.\n</think>\n\n",
     '  File "lib.py", line 2\n\n', "lib.py reads w, so raise it:\n\n",
     "The project:\n```\nexperiment.py\nlib.py\n```\n\n",
     "The project:\n```text\nexperiment.py\nlib.py\n```\n\n",
     "It says:\n```\nresults.json\n```\n\n", "It writes:\n- results.json\n- model.pt\n\n",
     "The final loss is written to\nresults.json\n\n", "It writes:\n- results.json\n\n", "`math.log`:\n\n",
     "`self.lock`:\n\n", "`np.r`\n\n", "README\n\n", "### License\n\n", "results.json:\n```json\n{}\n```\n\n"],
)  # fmt: skip
def test_other_files_in_weak_positions_leave_a_certain_edit_alone(above: str) -> None:
    files = {"experiment.py": A, "lib.py": A}
    assert apply(above + W, files, ["experiment.py"]) == "experiment.py"
    assert apply(FIRST + above + W, files, ["experiment.py"]) == "experiment.py"


@pytest.mark.parametrize("above", ["lib.py reads w:\n\n", "It writes:\n- results.json\n\n"])
def test_beside_another_file_only_an_exact_match_is_certain(above: str) -> None:
    files = {"experiment.py": A, "lib.py": A}
    loose = block("    w = 2", "    w = 3")
    assert apply_reply(above + loose, files, ["experiment.py"]).kind == "path_forbidden"
    created = above + block("", "w = 3").replace("SEARCH\n\n", "SEARCH\n")
    assert apply_reply(created, {"lib.py": A}, ["n.py"]).kind == "path_forbidden"


@pytest.mark.parametrize(
    "text",
    ["**SEARCH/REPLACE block:**", "### SEARCH/REPLACE", "SEARCH / REPLACE", "Edit 1/2:", "(1/2)", "[1/2]",
     "24/7",
     "### A/B test", "Train/test leakage is fixed here by shuffling.", "Input/output stays the same as before.",
     "Encoder/decoder weights are now tied:", "w/o dropout", "I/O", "and/or", "$w$", "**$w$**:", "C/C++",
     "/no_think",
     "/answer", "~2x", "n/a", "src/lib", "We raise the decay so that the\nlearning/decay rate drops a bit.",
     "float16/bfloat16", "</think>", "torch.nn", "~", "/", "https://example.com/other"],
)  # fmt: skip
def test_a_word_with_a_slash_is_no_path(text: str) -> None:
    assert apply(f"{text}\n\n{W}", ONE) == "experiment.py"
    assert apply(f"Intro.\n\n{text}\n{BARE}", ONE) == "experiment.py"


# ---------------------------------------------------------------- prose


@pytest.mark.parametrize(
    "above",
    ["I now raise w in other.py since it helps.", "Next we change other.py.", "In “other.py” we raise w:",
     "In other.py's loop:", "In other.py’s loop:", "other.py—raise w", "`f()` in other.py",
     "other.py, function `f`:",
     "In the file\n`other.py`\nw is too low:", "Which file? other.py", "Do the same in other.py:"],
)  # fmt: skip
def test_prose_about_one_file_decides_unless_the_block_before_disagrees(above: str) -> None:
    assert apply(f"{above}\n\n{W}") == "other.py"
    before = f"other.py\n{block('v = 1', 'v = 9')}\n"
    assert apply(f"{before}{above}\n\n{W}") == "other.py"


@pytest.mark.parametrize(
    "above",
    ["I leave other.py alone.", "We do not touch other.py here:", "other.py stays unchanged.",
     "Don't change other.py:",
     "Don’t change other.py:", "Without changing `other.py`, raise w:",
     "Instead of other.py, edit the main script:",
     "This is done rather than editing other.py:", "Keep other.py as it is.", "other.py must never be edited.",
     "This is not in other.py:", "There is no need to edit other.py.", "Do the same as in other.py:",
     "The trainer imports this from other.py, so it must be raised:", "Now it works like other.py does.",
     "Unlike other.py, this one needs a higher w:", "I change everything except other.py:",
     "After other.py has run, w is too low:", "w is used by other.py, raise it:", "See other.py:",
     "Do I change other.py? No.", 'Traceback:\n  File "other.py", line 2, in f', "I do not change:\n- other.py",
     "Change experiment.py, other.py:", "Files changed:\n- experiment.py\n- other.py",
     "experiment.py\nother.py",
     "The project:\n```\nexperiment.py\nother.py\n```", "Then `a other.py` is run:"],
)  # fmt: skip
def test_prose_that_denies_compares_or_lists_does_not_decide(above: str) -> None:
    """Only the one file that holds SEARCH exactly is certain then."""
    assert apply_reply(f"{above}\n\n{W}", TWO).kind == "malformed"
    assert apply_reply(f"{FIRST}{above}\n\n{W}", TWO).kind == "malformed"
    assert apply(f"{above}\n\n{W}", HERE) == "experiment.py"
    assert apply(f"{FIRST}{above}\n\n{W}", HERE) == "experiment.py"
    assert apply(f"{above}\n\n{W}", TWO, ["experiment.py"]) == "experiment.py"


@pytest.mark.parametrize(
    ("above", "names", "name"),
    [
        ("Then run it:", ["run", "lib"], None),
        ("This is a change of all:", ["a", "lib"], None),
        ("We train longer now:", ["bin/train", "bin/test"], None),
        ("The json output gets w:", ["json", "x.py"], None),
        ("### Run", ["run", "x.py"], None),
        ("In `run` we raise w:", ["run", "lib"], "run"),
        ("In the Makefile we raise w:", ["Makefile", "x.py"], "Makefile"),
        ("In `a b.py` we raise w:", ["a b.py", "b.py"], "a b.py"),
        ("In `a b.py` we raise w:", ["b.py", "c.py"], None),
        ("File: a b.py", ["a b.py", "b.py"], "a b.py"),
        ("**`my dir/a b.py`**", ["my dir/a b.py", "b.py"], "my dir/a b.py"),
        ("run", ["run", "lib"], "run"),
        ("run: raise w", ["run", "lib"], None),
        ("See myother.py:", ["other.py", "x.py"], None),
        ("In lib/other.py we raise w:", ["other.py", "x.py"], None),
    ],
)
def test_words_and_blanks_in_names(above: str, names: list[str], name: str | None) -> None:
    files = dict.fromkeys(names, A)
    assert apply(f"{above}\n\n{W}", files) == name
    if name is None:
        before = f"{names[1]}\n{block('v = 1', 'v = 9')}\n"
        assert apply(f"{before}{above}\n\n{W}", files) in (None, names[1])


# ---------------------------------------------------------------- inference


@pytest.mark.parametrize(
    ("between", "name"),
    [
        ("", "experiment.py"),
        ("Raise w, too:\n\n", "experiment.py"),
        ("experiment.py needs it.\n\nSo:\n\n", "experiment.py"),
        ("```bash\npython experiment.py\n```\n\n", "experiment.py"),
        ("In other.py w is low.\n\nSo:\n\n", None),
        ("```bash\npython other.py\n```\n\n", None),
        ("I leave other.py alone.\n\nNext:\n\n", None),
    ],
)
def test_a_block_continues_the_one_before_unless_the_text_between_names_another(
    between: str, name: str | None
) -> None:
    assert apply(FIRST + between + W) == name
    assert apply(FIRST + between + W, HERE) == "experiment.py"


@pytest.mark.parametrize(
    "between",
    [
        "Now in other.py, raise w:",
        "Do the same in other.py:",
        "I will now edit `other.py` to raise w.",
        "Next, other.py gets the same change:",
        "Set w in other.py like this, and leave the rest alone:",
        "In other.py, w is not large enough:",
    ],
)
def test_prose_that_announces_an_edit_outdoes_the_block_before(between: str) -> None:
    assert apply(f"{FIRST}{between}\n\n{W}") == "other.py"
    outcome = apply_reply(f"{FIRST}{between}\n\n{W}", HERE)
    assert outcome.kind == "no_match" and "stands in `experiment.py`" in outcome.message


def test_what_cannot_be_inferred_says_where_to_write_the_name() -> None:
    outcome = apply_reply(W, TWO)
    assert outcome.kind == "malformed"
    assert "Write the file's path alone on the line above the fence." in outcome.message
    assert "`experiment.py`, `other.py`" in outcome.message


def test_a_second_block_in_the_same_fence_is_named_by_the_line_above_it() -> None:
    one = "```python\nexperiment.py\n" + BARE.replace("w = 2", "v = 1").replace("w = 3", "v = 9")
    assert apply(f"{one}other.py\n{BARE}```\n") == "other.py"
    assert apply(f"{one}# more\n{BARE}```\n") == "experiment.py"
    assert apply(f"{one}```\n\nother.py\n{W}") == "other.py"


@pytest.mark.parametrize("editable", ["./{}", ".//{}", "././{}", "{}"])
@pytest.mark.parametrize(
    "above", ["experiment.py\n", "./experiment.py\n", "In experiment.py:\n\n", ""]
)
def test_editable_paths_may_be_written_in_several_ways(
    tmp_path: Path, editable: str, above: str
) -> None:
    listed = [editable.format("experiment.py"), "experiment.py"]
    (tmp_path / "experiment.py").write_text(A)
    for paths in (listed, listed[:1]):
        assert apply(above + W, TWO, paths) == "experiment.py"
        assert apply(above + W, {"./experiment.py": A}, paths) == "./experiment.py"
        outcome = apply_to_directory(above + W, tmp_path, paths, dry_run=True)
        assert edited(outcome) == "experiment.py"
        fill = above + block("", "z = 1").replace("SEARCH\n\n", "SEARCH\n")
        assert apply_reply(fill, TWO, paths).kind == "malformed"


# ---------------------------------------------------------------- blocks


@pytest.mark.parametrize(
    "marked",
    ["<<<<<<<\nw = 2\n=======\nw = 3\n>>>>>>>\n", "<<<<<<<\nw = 2\n=======\nw = 3\n>>>>>>> REPLACE\n",
     "««««««« SEARCH\nw = 2\n=======\nw = 3\n»»»»»»» REPLACE\n",
     "```\n<<<<<\nw = 2\n=====\nw = 3\n>>>>>\n```\n",
     "> <<<<<<< SEARCH\n> w = 2\n> =======\n> w = 3\n> >>>>>>> REPLACE\n",
     "<<<<<<< SEARCH w = 2 ======= w = 3 >>>>>>> REPLACE\n"],
)  # fmt: skip
def test_a_block_in_other_markers_is_never_dropped_silently(marked: str) -> None:
    assert apply_reply(f"experiment.py\n{marked}", ONE).kind == "malformed"
    outcome = apply_reply(f"{FIRST}\n{marked}", ONE)
    assert outcome.kind == "malformed" and outcome.problems[0].block == 2


@pytest.mark.parametrize(
    "line", ["<<<<<<<<<<<<", "> <<<<<<< SEARCH is the head.", "<<< HEAD of list", "<<<<<<<"]
)
def test_lines_that_only_look_like_markers_are_text(line: str) -> None:
    assert apply(f"{line}\n\n{FIRST}\nFine.\n\n{W}", ONE) == "experiment.py"


@pytest.mark.parametrize(
    "second",
    ["   <<<<<<< SEARCH\n   c\n   =======\n   d\n>>>>>>> REPLACE\n",
     "<<<<<<<< SEARCH\nc\n========\nd\n>>>>>>> REPLACE\n", "  <<<<<<< SEARCH\n  c\n>>>>>>> REPLACE\n"],
)  # fmt: skip
def test_a_block_that_was_not_ended_does_not_swallow_the_next(second: str) -> None:
    reply = f"a.md\n<<<<<<< SEARCH\na\n=======\nb\n\n{second}"
    outcome = apply_reply(reply, {"a.md": "a\nc\n"})
    assert outcome.kind == "malformed" and outcome.problems[0].reply_line == 2


@pytest.mark.parametrize(
    "text", ["   <<<<<<< SEARCH\n   c\n   =======\n   d\n   >>>>>>> REPLACE", "<<<<< SEARCH\nmore"]
)
def test_text_may_hold_markers_of_another_form(text: str) -> None:
    reply = f"a.md\n<<<<<<< SEARCH\na\n=======\nb\n{text}\n>>>>>>> REPLACE\n"
    assert apply_reply(reply, {"a.md": "a\n"}).files == {"a.md": f"b\n{text}\n"}


@pytest.mark.parametrize("files", [{}, {"n.md": ""}])
def test_a_new_file_in_a_list_item_has_no_indentation_of_the_list(files: dict[str, str]) -> None:
    reply = "1. n.md\n   <<<<<<< SEARCH\n   =======\n   # T\n\n     text\n   >>>>>>> REPLACE\n"
    assert apply_reply(reply, files, ["n.md"]).files == {"n.md": "# T\n\n  text\n"}


# ---------------------------------------------------------------- invariants

_PIECES = st.sampled_from(
    ["experiment.py", "other.py", "lib.py", "train.py", "`other.py`", "**experiment.py**", "### other.py",
     "- lib.py",
     "run", "a b.py", "not", "leave", "from", "like", "Raise w:", "This is fine.", "\n", "\n\n", "```",
     "```python",
     "~~~", "````", "# ", "File: ", ": ", " — ", "(unchanged)", "<think>", "</think>", "---", "other.py#L2",
     "./",
     "../", "=======", "SEARCH/REPLACE", "\ud800", "“", "”", "=", '"', "no changes", " in ", " "]
)  # fmt: skip
_PROSE = st.lists(_PIECES, max_size=14).map("".join)
_NAMES = ["experiment.py", "other.py", "lib.py", "run", "a b.py"]


@settings(max_examples=400, deadline=None)
@given(prose=st.lists(_PROSE, min_size=1, max_size=3), holder=st.sampled_from(_NAMES))
def test_no_text_above_makes_a_block_edit_a_file_it_does_not_name_and_that_lacks_search(
    prose: list[str], holder: str
) -> None:
    files = {name: (A if name == holder else "    w = 2\n    v = 1\n") for name in _NAMES}
    reply = "".join(f"{text}\n{W}" for text in prose)
    outcome = apply_reply(reply, files)
    for name in outcome.files:
        assert name == holder or any(name.split()[-1] in text for text in prose)
    turned = apply_reply(reply, dict(reversed(files.items())))
    assert (turned.applied, turned.kind, turned.files) == (
        outcome.applied,
        outcome.kind,
        outcome.files,
    )


@settings(max_examples=200, deadline=None)
@given(above=_PROSE, name=st.sampled_from(_NAMES))
def test_a_name_on_the_line_above_the_fence_always_decides_or_nothing_is_changed(
    above: str, name: str
) -> None:
    files = dict.fromkeys(_NAMES, A)
    assert apply(f"{above}\n\n{name}\n{W}", files) in (name, None)


@settings(max_examples=200, deadline=None)
@given(st.text(string.printable + "«»“”’—→é\u2028\ud800", max_size=60), st.booleans())
def test_nothing_above_a_block_raises_or_makes_a_single_file_unlike_itself(
    text: str, fenced: bool
) -> None:
    outcome = apply_reply(f"{text}\n{W if fenced else BARE}", ONE)
    assert outcome.files in ({}, {"experiment.py": "v = 1\nw = 3\n"})


class _Counting(dict[str, str]):
    """Known files that count how often they are asked."""

    asked = 0

    def __contains__(self, key: object) -> bool:
        self.asked += 1
        return super().__contains__(key)


@pytest.mark.parametrize(
    "piece",
    ["a ", "`", "*", "**a", "other.py ", "`other.py ", "a/", "./", "n't ", "from ", "“", "«", "<a b", "([",
     "a.", "- ",
     "no ", "File: ", "a — ", "```", '="'],
)  # fmt: skip
@pytest.mark.parametrize("width", [50, 499, 100_000])
def test_hostile_text_above_a_block_is_read_in_linear_work(piece: str, width: int) -> None:
    """Measured in questions about files; the regular expressions end for lines of any length."""
    line = (piece * (width // len(piece) + 1))[:width]
    known = _Counting(TWO)
    for above in ([line] * (100_000 // width), ["~~~x " + line]):
        HeadingReader(Known(known, known)).read(tuple(above))
    assert known.asked < 1_000_000


def test_a_long_paragraph_and_many_fences_are_read_in_linear_work() -> None:
    known = _Counting(TWO)
    fences = ["```a"] * 5000 + ["```"] * 5000
    for above in (["word"] * 10_000, ["other.py"] * 10_000, ["other.py", ""] * 5000, fences):
        HeadingReader(Known(known, known)).read(tuple(above))
    assert known.asked < 1_000_000


@pytest.mark.parametrize(
    "prose",
    [
        "We log to `results.json` now:",
        "`final_info.json` gets one more key:",
        "This follows train.py of the original paper.",
        "The plan:\n- model.py\n- data.py",
        "Saved in runs/run_1/final_info.json:",
    ],
)
def test_prose_about_other_files_does_not_stop_an_edit_that_is_sure(prose: str) -> None:
    text = "class A:\n    def f(self):\n        x = 1\n        return x\n"
    files = {"experiment.py": text}
    several = block("x = 1\nreturn x", "x = 2\nreturn x")
    assert apply_reply(f"{prose}\n\n{several}", files).applied
    exact = block("        x = 1", "        x = 2")
    assert apply_reply(f"{prose}\n\n{exact}", files).applied
    single = block("x = 1", "x = 2")
    assert apply_reply(f"{prose}\n\n{single}", files).kind == "path_forbidden"
