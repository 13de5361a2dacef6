"""The writer: all files or none, bytes and modes kept, nothing outside the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from edit_replies import block, refusal

from agent_runner.edits import apply_to_directory
from agent_runner.edits import directory as writer
from agent_runner.errors import MachineError


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def two_files(root: Path) -> str:
    (root / "a.txt").write_bytes(b"a\n")
    (root / "b.txt").write_bytes(b"b\n")
    return block("a\n", "A\n", name="a.txt") + block("b\n", "B\n", name="b.txt")


def test_bytes_and_mode_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_bytes(b"\xef\xbb\xbf# \xc3\xa9\r\na\r\nb")
    path.chmod(0o751)
    outcome = apply_to_directory(block("a\n", "c\n", name="run.sh"), tmp_path)
    assert outcome.applied, outcome.message
    assert path.read_bytes() == b"\xef\xbb\xbf# \xc3\xa9\r\nc\r\nb"
    assert stat.S_IMODE(path.stat().st_mode) == 0o751
    assert os.listdir(tmp_path) == ["run.sh"]


def test_a_file_that_is_not_utf8_takes_ascii_only(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(b"caf\xe9\na\n")
    assert (
        refusal(apply_to_directory(block("a\n", "é\n", name="old.txt"), tmp_path)).kind
        == "malformed"
    )
    assert apply_to_directory(block("a\n", "b\n", name="old.txt"), tmp_path).applied
    assert path.read_bytes() == b"caf\xe9\nb\n"


def test_dry_run_and_refusal_write_nothing(tmp_path: Path) -> None:
    reply = two_files(tmp_path)
    before = tree(tmp_path)
    outcome = apply_to_directory(reply, tmp_path, dry_run=True)
    assert (
        outcome.applied
        and outcome.dry_run
        and outcome.diff
        and "nothing was written" in outcome.message
    )
    assert not apply_to_directory(reply + block("q\n", "r\n", name="b.txt"), tmp_path).applied
    assert tree(tmp_path) == before


def test_only_listed_files_can_be_edited_or_created(tmp_path: Path) -> None:
    reply = two_files(tmp_path)
    problem = refusal(apply_to_directory(reply, tmp_path, ["a.txt"]))
    assert (problem.kind, problem.path, problem.block) == ("path_forbidden", "b.txt", 2)
    new = block("", "x\n", name="sub/new.txt")
    assert refusal(apply_to_directory(new, tmp_path)).kind == "path_forbidden"
    assert not (tmp_path / "sub").exists()
    assert apply_to_directory(new, tmp_path, ["sub/new.txt"]).applied
    assert (tmp_path / "sub" / "new.txt").read_bytes() == b"x\n"


@pytest.mark.parametrize(
    "editable", [None, ["link.txt", "folder/a.txt", "fifo.txt", ".git/config"]]
)
def test_links_and_special_files_are_refused(tmp_path: Path, editable: list[str] | None) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "a.txt").write_bytes(b"a\n")
    (root / "link.txt").symlink_to(outside / "a.txt")
    (root / "folder").symlink_to(outside)
    os.mkfifo(root / "fifo.txt")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"a\n")
    for name in ("link.txt", "folder/a.txt", "fifo.txt", ".git/config"):
        for search in ("a\n", ""):
            problem = refusal(apply_to_directory(block(search, "b\n", name=name), root, editable))
            assert problem.kind == "path_forbidden", name
    assert (outside / "a.txt").read_bytes() == (root / ".git" / "config").read_bytes() == b"a\n"


@pytest.mark.parametrize("failing", range(1, 3))
def test_files_are_put_back_when_a_later_one_cannot_be_swapped_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    reply = two_files(tmp_path) + block("", "new\n", name="c.txt")
    before, calls, real = tree(tmp_path), 0, os.replace

    def broken(*args: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        if calls == failing + 1:
            raise OSError(28, "No space left on device")
        real(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(writer.os, "replace", broken)
    with pytest.raises(MachineError, match="No space left"):
        apply_to_directory(reply, tmp_path, ["a.txt", "b.txt", "c.txt"])
    assert calls > failing
    assert tree(tmp_path) == before


def test_a_file_changed_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = two_files(tmp_path)
    real = writer.plan

    def interrupted(*args: object, **named: object) -> object:
        outcome = real(*args, **named)  # type: ignore[arg-type]
        (tmp_path / "b.txt").write_bytes(b"somebody else's\n")
        return outcome

    monkeypatch.setattr(writer, "plan", interrupted)
    with pytest.raises(MachineError, match=r"b\.txt was changed by somebody else"):
        apply_to_directory(reply, tmp_path)
    assert tree(tmp_path) == {"a.txt": b"a\n", "b.txt": b"somebody else's\n"}


def test_a_missing_folder_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be opened"):
        apply_to_directory(block("a\n", "b\n"), tmp_path / "none")
