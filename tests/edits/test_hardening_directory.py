"""The writer: all files or none, no link followed, no byte lost (points 4 and 5)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hardening import block, edit, fenced

from agent_runner.edits import apply_to_directory
from agent_runner.errors import MachineError

CHANGE = block("a = 1\n", "a = 2\n")


def _tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_applies_in_bytes_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf\xff\xfe\r\na = 1\r\n\xe9\tx\x0c\n\xe2\x80\xa8end"
    (tmp_path / "x.txt").write_bytes(data)
    (tmp_path / "other.txt").write_bytes(b"a = 1\n")
    outcome = apply_to_directory(edit("a = 1\n", "a = 2\nb = 3\n", name="x.txt"), tmp_path)
    assert outcome.applied, outcome.message
    assert _tree(tmp_path) == {
        "other.txt": b"a = 1\n",
        "x.txt": data.replace(b"a = 1\r\n", b"a = 2\r\nb = 3\r\n"),
    }


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o640])
def test_mode_is_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(b"a = 1\n")
    path.chmod(mode)
    assert apply_to_directory(edit("a = 1\n", "a = 2\n", name="x.py"), tmp_path).applied
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == b"a = 2\n"


def test_dry_run_and_refusals_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_bytes(b"a = 1\n")
    before = (tmp_path / "x.py").stat()
    outcome = apply_to_directory(edit("a = 1\n", "a = 2\n", name="x.py"), tmp_path, dry_run=True)
    assert outcome.files == {"x.py": "a = 2\n"} and outcome.diff
    for reply in (
        edit("b\n", "c\n", name="x.py"),
        "words",
        fenced(CHANGE, block("q\n", "r\n"), name="x.py"),
    ):
        assert not apply_to_directory(reply, tmp_path).applied
    after = (tmp_path / "x.py").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert _tree(tmp_path) == {"x.py": b"a = 1\n"}


def _tries(reply: str, root: Path, editable: list[str] | None) -> str:
    """What is said of a reply that the machine does not let through: as an outcome, or as its error."""
    try:
        outcome = apply_to_directory(reply, root, editable)
    except MachineError as error:
        return str(error)
    assert not outcome.applied
    return outcome.message


def _linked(tmp_path: Path, where: str) -> tuple[Path, Path]:
    """A root with `x.py`, and a link in it that leads out of it, to a file that must stay as it is."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "sub").mkdir(parents=True)
    root.mkdir()
    (outside / "x.py").write_bytes(b"a = 1\n")
    (outside / "sub" / "x.py").write_bytes(b"a = 1\n")
    if where == "file":
        (root / "link.py").symlink_to(outside / "x.py")
    elif where == "folder":
        (root / "link").symlink_to(outside)
    elif where == "inside":
        (root / "real.py").write_bytes(b"a = 1\n")
        (root / "link.py").symlink_to("real.py")
    elif where == "dangling":
        (root / "link.py").symlink_to(outside / "new.py")
    return root, outside


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("file", "link.py"),
        ("folder", "link/x.py"),
        ("folder", "link/sub/x.py"),
        ("inside", "link.py"),
        ("dangling", "link.py"),
    ],
)
def test_links_on_the_way_are_refused(tmp_path: Path, where: str, name: str, listed: bool) -> None:
    root, outside = _linked(tmp_path, where)
    before = (_tree(root), _tree(outside))
    for reply in (edit("a = 1\n", "a = 2\n", name=name), edit("", "a = 2\n", name=name)):
        outcome = apply_to_directory(reply, root, [name] if listed else None)
        assert not outcome.applied and outcome.kind == "path_forbidden", outcome.message
    assert (_tree(root), _tree(outside)) == before
    assert not (outside / "new.py").exists()


def test_a_listed_link_does_not_stop_edits_of_other_files(tmp_path: Path) -> None:
    root, _outside = _linked(tmp_path, "file")
    (root / "x.py").write_bytes(b"a = 1\n")
    outcome = apply_to_directory(edit("a = 1\n", "a = 2\n", name="x.py"), root, ["x.py", "link.py"])
    assert outcome.applied, outcome.message


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "x.py").write_bytes(b"a = 1\n")
    (tmp_path / "root").symlink_to(real)
    assert apply_to_directory(edit("a = 1\n", "a = 2\n", name="x.py"), tmp_path / "root").applied
    assert (real / "x.py").read_bytes() == b"a = 2\n"


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", [".git/config", ".git", "sub/.git/x", ".GIT/config", "a/.Git"])
def test_git_is_refused(tmp_path: Path, name: str, listed: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a = 1\n")
    (tmp_path / "z.py").write_bytes(b"z = 1\n")
    editable = [name, "z.py"] if listed else None
    outcome = apply_to_directory(edit("a = 1\n", "a = 2\n", name=name), tmp_path, editable)
    assert outcome.kind == "path_forbidden" and path.read_bytes() == b"a = 1\n"
    assert not apply_to_directory(edit("a = 1\n", "a = 2\n", name=None), tmp_path, editable).applied
    assert path.read_bytes() == b"a = 1\n"


def test_a_listed_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "x.py").write_bytes(b"a = 1\n")
    for name in ("../x.py", str(tmp_path / "x.py"), "sub/../../x.py"):
        outcome = apply_to_directory(edit("a = 1\n", "a = 2\n", name=name), root, [name])
        assert outcome.kind == "path_forbidden"
        assert not apply_to_directory(edit("a = 1\n", "a = 2\n", name=None), root, [name]).applied
    assert _tree(tmp_path) == {"x.py": b"a = 1\n"}


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(
    tmp_path: Path, make: object
) -> None:
    assert callable(make)
    make(tmp_path / "x.py")
    for editable in (None, ["x.py"]):
        outcome = apply_to_directory(edit("a = 1\n", "a = 2\n", name="x.py"), tmp_path, editable)
        assert outcome.kind == "path_forbidden"


def test_new_files_are_created_only_when_listed(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_bytes(b"a = 1\n")
    reply = edit("", "n = 1\n", name="new.py")
    assert apply_to_directory(reply, tmp_path).kind == "path_forbidden"
    assert apply_to_directory(reply, tmp_path, ["x.py"]).kind == "path_forbidden"
    assert apply_to_directory(reply, tmp_path, ["x.py", "new.py"]).applied
    assert _tree(tmp_path) == {"new.py": b"n = 1\n", "x.py": b"a = 1\n"}


def test_a_new_file_in_a_new_folder(tmp_path: Path) -> None:
    outcome = apply_to_directory(edit("", "n = 1\n", name="a/b/new.py"), tmp_path, ["a/b/new.py"])
    assert outcome.applied, outcome.message
    assert _tree(tmp_path) == {"a/b/new.py": b"n = 1\n"}


def test_a_missing_root_is_told_and_not_made(tmp_path: Path) -> None:
    for editable in (None, ["x.py"]):
        assert _tries(edit("", "b\n", name="x.py"), tmp_path / "no", editable)
        assert not (tmp_path / "no").exists()


def test_lone_surrogates_in_a_reply_never_raise(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"a = 1\n")
    for text in ("\ud800", "\udfff", "\udcff", "\udc41"):
        reply = edit("a = 1\n", f"a = '{text}'\n", name="x.txt")
        outcome = apply_to_directory(reply, tmp_path)
        if not outcome.applied:
            assert (tmp_path / "x.txt").read_bytes() == b"a = 1\n"
        (tmp_path / "x.txt").write_bytes(b"a = 1\n")


# ---------------------------------------------------------------- half-way


def _three(root: Path) -> str:
    for name in ("a.py", "b.py", "c.py"):
        (root / name).write_bytes(b"a = 1\n")
        (root / name).chmod(0o640)
    reply = "".join(fenced(CHANGE, name=name) for name in ("a.py", "b.py", "c.py"))
    return reply + edit("", "n = 1\n", name="d.py")


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", range(1, 10))
@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_stop_half_way_leaves_every_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failing: int, stop: BaseException
) -> None:
    """One call fails, once: what is needed to put the files back works again."""
    reply = _three(tmp_path)
    before = _tree(tmp_path)
    real, count = getattr(os, call), 0

    def stopping(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == failing:
            raise stop
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, stopping)
    try:
        applied = apply_to_directory(reply, tmp_path, ["a.py", "b.py", "c.py", "d.py"]).applied
    except (KeyboardInterrupt, MachineError):
        applied = False
    monkeypatch.undo()
    if applied:  # fewer calls are made than `failing`
        assert count < failing
        assert set(_tree(tmp_path)) == {"a.py", "b.py", "c.py", "d.py"}
    else:
        assert _tree(tmp_path) == before
        for name in before:
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_a_stop_leaves_no_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert _tries(edit("", "n = 1\n", name="a/b/new.py"), tmp_path, ["a/b/new.py"])
    assert list(tmp_path.iterdir()) == []


def _meanwhile(monkeypatch: pytest.MonkeyPatch, path: Path, data: bytes) -> None:
    """Somebody else writes a file while the first new content goes to the disk."""
    real = os.fsync

    def interleaved(file: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        path.write_bytes(data)
        real(file)

    monkeypatch.setattr(os, "fsync", interleaved)


@pytest.mark.parametrize("name", ["a.py", "b.py", "c.py"])
def test_a_change_by_somebody_else_meanwhile_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reply = _three(tmp_path)
    _meanwhile(monkeypatch, tmp_path / name, b"a = 1\nmine = 1\n")
    assert name in _tries(reply, tmp_path, ["a.py", "b.py", "c.py", "d.py"])
    want = {"a.py": b"a = 1\n", "b.py": b"a = 1\n", "c.py": b"a = 1\n"}
    assert _tree(tmp_path) == {**want, name: b"a = 1\nmine = 1\n"}


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _meanwhile(monkeypatch, tmp_path / "new.py", b"mine\n")
    assert "new.py" in _tries(edit("", "n = 1\n", name="new.py"), tmp_path, ["new.py"])
    assert _tree(tmp_path) == {"new.py": b"mine\n"}
