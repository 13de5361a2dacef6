"""All files or none, when the disk or somebody else stands in the way; with real faults where possible."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from edit_replies import block, refusal

from agent_runner.edits import apply_reply, apply_to_directory
from agent_runner.errors import MachineError

NAMES = ["a.txt", "b.txt", "s/c.txt", "n/m/new.txt", "s/new.txt"]
FULL = OSError(28, "No space left on device")


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file with its content, and every folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def five(root: Path) -> str:
    """Three files to change and two to create."""
    (root / "s").mkdir()
    for name in NAMES[:3]:
        (root / name).write_bytes(b"old\n")
    return "".join(block("old\n", "new\n", name=name) for name in NAMES[:3]) + "".join(
        block("", "new\n", name=name) for name in NAMES[3:]
    )


def failure(reply: str, root: Path, editable: list[str] | None = None) -> MachineError:
    with pytest.raises(MachineError) as caught:
        apply_to_directory(reply, root, NAMES if editable is None else editable)
    assert ".edit-" not in f"{caught.value.message}{caught.value.remedy}"
    assert caught.value.remedy
    return caught.value


def on_call(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    calls: Callable[[int], bool],
    act: Callable[[], None],
) -> None:
    """Something happens just before these calls of a function of `os`."""
    real, count = getattr(os, name), 0

    def wrapped(*args: object, **named: object) -> object:
        nonlocal count
        count += 1
        if calls(count):
            act()
        return real(*args, **named)

    monkeypatch.setattr(os, name, wrapped)


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@contextmanager
def attribute(flag: str, path: Path) -> Iterator[None]:
    """A file or folder that is immutable (`i`) or append-only (`a`), as only root can make it."""
    if (
        not shutil.which("chattr")
        or subprocess.run(["chattr", f"+{flag}", path], capture_output=True, check=False).returncode
    ):
        pytest.skip("chattr cannot be used here")
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{flag}", path], check=True)


APPLY = """
import sys
from pathlib import Path
from agent_runner.edits import apply_to_directory
from agent_runner.errors import MachineError
try:
    print(apply_to_directory(sys.stdin.read(), Path(sys.argv[1]), sys.argv[2:]).message)
except MachineError as error:
    print("MachineError", error.message)
"""


READ_ONLY = f"""
import os, subprocess, sys
real, calls = os.replace, []
def then_read_only(*args, **named):
    calls.append(args)
    if len(calls) == 2:
        subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
    real(*args, **named)
os.replace = then_read_only
{APPLY}
"""


def mounted(mount: str, reply: str, root: Path, *, then: str = "true", program: str = APPLY) -> str:
    """What is said of a reply in a mount namespace of its own, after `mount` and before `then`."""
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("nothing can be mounted here")
    script = f'set -e; {mount}; out=$1; shift; "$@" > $out; cd {root}; {then}'
    said = root.parent / "said"
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(said), sys.executable, "-c", program]
    subprocess.run([*command, str(root), *NAMES, "big.txt"], input=reply, text=True, check=True)
    return said.read_text()


# ---------------------------------------------------------------- files that cannot be renamed over


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("flag", ["i", "a"])
def test_a_file_that_must_not_change_leaves_all_as_it_was(
    tmp_path: Path, name: str, flag: str
) -> None:
    reply = five(tmp_path)
    before = tree(tmp_path)
    with attribute(flag, tmp_path / name):
        error = failure(reply, tmp_path)
    assert (
        error.message == f"{name} cannot be written: Operation not permitted; nothing was changed"
    )
    assert name in error.remedy and "immutable" in error.remedy
    assert tree(tmp_path) == before


@pytest.mark.parametrize("folder", [".", "s"])
def test_nothing_is_left_in_an_append_only_folder(tmp_path: Path, folder: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    reply = five(root)
    before = tree(root)
    with attribute("a", root / folder):
        error = failure(reply, root)
        alone = failure(block("", "new\n", name="n/m/new.txt"), root) if folder == "." else error
    assert "append-only; nothing was changed" in error.message
    assert "append-only; nothing was changed" in alone.message
    assert tree(root) == before


def test_a_mounted_file_leaves_all_as_it_was(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    reply = five(root)
    (tmp_path / "other").write_bytes(b"old\n")
    said = mounted(f"mount --bind {tmp_path / 'other'} {root / 'b.txt'}", reply, root)
    assert said == (
        "MachineError b.txt cannot be written: Device or resource busy; nothing was changed\n"
    )
    assert set(tree(root)) == {"a.txt", "b.txt", "s", "s/c.txt"}
    assert {(root / name).read_bytes() for name in NAMES[:3]} == {b"old\n"}


def test_a_full_disk_leaves_all_as_it_was(tmp_path: Path) -> None:
    root, saved = tmp_path / "root", tmp_path / "saved"
    root.mkdir()
    reply = five(root) + block("", "x" * 70_000 + "\n", name="big.txt")
    shutil.copytree(root, saved)
    said = mounted(
        f"mount -t tmpfs -o size=64k none {root}; cp -a {saved}/. {root}",
        reply,
        root,
        then=f"rm -r {saved}; cp -a . {saved}",  # a file system that nobody else sees
    )
    assert said == (
        "MachineError big.txt cannot be written: No space left on device; nothing was changed\n"
    )
    assert tree(saved) == tree(root)


def test_a_disk_that_turns_read_only_half_way(tmp_path: Path) -> None:
    """Nothing can be put back, and that is what is said; the old text is beside the file."""
    root, saved = tmp_path / "root", tmp_path / "saved"
    root.mkdir()
    reply = five(root)
    shutil.copytree(root, saved)
    said = mounted(
        f"mount -t tmpfs none {root}; cp -a {saved}/. {root}",
        reply,
        root,
        then=f"rm -r {saved}; cp -a . {saved}",
        program=READ_ONLY,
    )
    assert said.startswith("MachineError b.txt cannot be written: Read-only file system. Not ")
    assert said.endswith("could be put back: `a.txt` still has the new text\n")
    after = tree(saved)
    assert after["a.txt"] == b"new\n" and after["b.txt"] == after["s/c.txt"] == b"old\n"
    kept = [data for name, data in after.items() if name.endswith(".old") and "/" not in name]
    assert b"old\n" in kept


# ---------------------------------------------------------------- what cannot be undone


@pytest.mark.parametrize("first", range(1, 6))
def test_no_rename_works_from_one_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """The last resort: the old bytes are written in place."""
    reply = five(tmp_path)
    before = tree(tmp_path)
    on_call(monkeypatch, "replace", lambda n: n >= first, fail(FULL))
    error = failure(reply, tmp_path)
    assert error.message == (
        f"{NAMES[first - 1]} cannot be written: No space left on device; nothing was changed"
    )
    assert tree(tmp_path) == before


def nothing_opens_for_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are there cannot be written; new ones can be made."""
    real = os.open

    def refusing(path: str, flags: int, *args: int, **named: int) -> int:
        if flags & os.O_WRONLY and not flags & os.O_CREAT:
            raise PermissionError(1, "Operation not permitted")
        return real(path, flags, *args, **named)

    monkeypatch.setattr(os, "open", refusing)


def test_what_cannot_be_put_back_is_named_with_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = five(tmp_path)
    on_call(monkeypatch, "replace", lambda n: n >= 3, fail(FULL))
    nothing_opens_for_writing(monkeypatch)
    error = failure(reply, tmp_path)
    assert error.message == (
        "s/c.txt cannot be written: No space left on device. Not everything could be put back: "
        "`b.txt` still has the new text; `a.txt` still has the new text"
    )
    assert ".old" in error.remedy
    after = tree(tmp_path)
    kept = [data for name, data in after.items() if ".edit-" in name]
    assert kept == [b"old\n", b"old\n"]  # of the two, and of no other file
    after = {name: data for name, data in after.items() if ".edit-" not in name}
    old, new = b"old\n", b"new\n"
    assert after == {"a.txt": new, "b.txt": new, "s": None, "s/c.txt": old}


def test_a_created_file_that_cannot_be_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.unlink

    def refusing(path: str, **named: int) -> None:
        if path == "new.txt":
            raise PermissionError(1, "Operation not permitted")
        real(path, **named)

    reply = five(tmp_path)
    monkeypatch.setattr(os, "unlink", refusing)
    on_call(monkeypatch, "replace", lambda n: n == 5, fail(FULL))
    error = failure(reply, tmp_path)
    assert "nothing was changed" not in error.message
    assert "`n/m/new.txt` was created and cannot be removed (Operation not per" in error.message
    assert {(tmp_path / name).read_bytes() for name in NAMES[:3]} == {b"old\n"}


def test_a_stop_by_hand_says_what_could_not_be_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = five(tmp_path)
    on_call(
        monkeypatch, "replace", lambda n: n > 1, fail(FULL)
    )  # of those that the next line lets through
    on_call(monkeypatch, "replace", lambda n: n == 2, fail(KeyboardInterrupt()))
    nothing_opens_for_writing(monkeypatch)
    with pytest.raises(KeyboardInterrupt) as caught:
        apply_to_directory(reply, tmp_path, NAMES)
    assert caught.value.__notes__ == [
        "Not everything could be put back: `a.txt` still has the new text"
    ]


def test_a_staged_file_that_cannot_be_removed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = five(tmp_path)
    on_call(monkeypatch, "unlink", lambda _: True, fail(PermissionError(1, "no")))
    assert apply_to_directory(reply, tmp_path, NAMES).applied
    assert {(tmp_path / name).read_bytes() for name in NAMES} == {b"new\n"}


# ---------------------------------------------------------------- somebody else


def test_a_file_made_at_the_last_moment_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = block("", "new\n", name="s/new.txt") + block("", "new\n", name="n/m/new.txt")
    theirs = tmp_path / "n" / "m" / "new.txt"

    def appear() -> None:
        theirs.write_bytes(b"new\n")

    on_call(monkeypatch, "link", lambda n: n == 2, appear)
    error = failure(reply, tmp_path)
    assert error.message == (
        "n/m/new.txt was changed by somebody else while the reply was applied; nothing was changed"
    )
    assert tree(tmp_path) == {"n": None, "n/m": None, "n/m/new.txt": b"new\n"}


@pytest.mark.parametrize("error", [PermissionError(1, "no links"), NotImplementedError()])
def test_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    reply = five(tmp_path)
    before = tree(tmp_path)
    on_call(monkeypatch, "link", lambda _: True, fail(error))
    with monkeypatch.context() as inner:
        on_call(inner, "replace", lambda n: n == 5, fail(FULL))
        failure(reply, tmp_path)
    assert tree(tmp_path) == before
    assert apply_to_directory(reply, tmp_path, NAMES).applied
    assert tree(tmp_path) == {"n": None, "n/m": None, "s": None, **dict.fromkeys(NAMES, b"new\n")}


@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_mode_that_is_changed_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    reply = five(tmp_path)
    on_call(monkeypatch, call, lambda n: n == 1, lambda: (tmp_path / "a.txt").chmod(0o751))
    assert apply_to_directory(reply, tmp_path, NAMES).applied
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o751


def test_what_somebody_writes_after_the_swap_is_left_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = five(tmp_path)

    def act() -> None:
        (tmp_path / "a.txt").write_bytes(b"theirs\n")
        raise FULL

    on_call(monkeypatch, "replace", lambda n: n == 3, act)
    error = failure(reply, tmp_path)
    assert error.message.endswith("put back: `a.txt` was changed by somebody else, after the edit")
    assert (tmp_path / "a.txt").read_bytes() == b"theirs\n"
    assert (tmp_path / "b.txt").read_bytes() == b"old\n"


# ---------------------------------------------------------------- names and folders


@pytest.mark.parametrize("names", [["n", "n/m.txt"], ["n/m/o.txt", "n"], ["n/m", "n/m/o/p.txt"]])
def test_a_reply_cannot_make_a_file_and_a_folder_of_one_name(
    tmp_path: Path, names: list[str]
) -> None:
    reply = "".join(block("", "new\n", name=name) for name in names)
    both = min(names, key=len)
    for outcome in (apply_to_directory(reply, tmp_path, names), apply_reply(reply, {}, names)):
        problem = refusal(outcome)
        assert (problem.kind, problem.path, problem.block) == ("path_forbidden", names[1], 2)
        assert f"`{both}` cannot be both a file and a folder" in problem.message
    assert tree(tmp_path) == {}


def test_no_file_is_made_below_a_file_or_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "n").write_bytes(b"old\n")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "c.txt").write_bytes(b"old\n")
    before = tree(tmp_path)
    for name in ("n/m.txt", "n/m/o.txt", "s"):
        reply = block("", "new\n", name=name)
        editable = ["n", "s/c.txt", name]
        texts = {"n": "old\n", "s/c.txt": "old\n"}
        assert refusal(apply_to_directory(reply, tmp_path, editable)).kind == "path_forbidden"
        problem = refusal(apply_reply(reply, texts, editable))
        assert problem.kind == "path_forbidden"
        assert f"`{name[0]}` cannot be both a file and a folder" in problem.message
    assert tree(tmp_path) == before
    beside = block("", "new\n", name="nn.txt") + block("", "new\n", name="s/nn.txt")
    assert apply_to_directory(beside, tmp_path, ["n", "nn.txt", "s/c.txt", "s/nn.txt"]).applied


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_a_very_deep_tree(tmp_path: Path) -> None:
    """More levels than Python recurses or a process has descriptors for; another branch is found after it."""
    names = {"a.txt", "b/a.txt", "zz/a.txt", *("d/" * depth + "e/a.txt" for depth in (1, 2, 9))}
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    with open(os.open("deep.txt", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "w") as file:
        file.write("deepest\n")
    try:
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("old\n")
        assert refusal(apply_to_directory(block("q\n", "r\n", name="q.txt"), tmp_path)).block == 1
        reply = "".join(block("old\n", "new\n", name=name) for name in names)
        assert set(apply_to_directory(reply, tmp_path).files) == names
        deep = apply_to_directory(
            block("deepest\n", "new\n", name="d/" * 1500 + "deep.txt"), tmp_path
        )
        assert deep.applied, deep.message
        with open(os.open("deep.txt", os.O_RDONLY, dir_fd=folder)) as file:
            assert file.read() == "new\n"
    finally:
        os.close(folder)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # too deep for pytest


@pytest.mark.parametrize("root", ["a\0b", "\ud800", "a" * 300])
def test_a_root_that_is_no_path(root: str) -> None:
    error = failure(block("old\n", "new\n", name="a.txt"), Path(root))
    assert "cannot be opened" in error.message
    error.message.encode()
