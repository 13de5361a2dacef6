"""Trees that a job has made: owned, opened, removed, whatever they consist of."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_runner.execution import trees

KINDS = st.sampled_from(["file", "folder", "link", "closed", "fifo"])
TREES = st.recursive(KINDS, lambda below: st.lists(below, max_size=4), max_leaves=12)


def grow(path: Path, tree: object, outside: Path) -> None:
    if isinstance(tree, list):
        path.mkdir()
        for number, below in enumerate(tree):
            grow(path / str(number), below, outside)
        path.chmod(0o500)
    elif tree == "link":
        path.symlink_to(outside)
    elif tree == "fifo":
        os.mkfifo(path)
    elif tree == "file":
        path.write_text("x")
    else:
        path.mkdir(mode=0 if tree == "closed" else 0o700)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.lists(TREES, max_size=4))
def test_any_tree_can_be_owned_and_removed(
    tmp_path_factory: pytest.TempPathFactory, tree: list[object]
) -> None:
    base = tmp_path_factory.mktemp("tree")
    outside = base / "outside"
    outside.mkdir(mode=0o711)
    (outside / "precious").write_text("x")
    grow(base / "tree", tree, outside)
    trees.own(str(base / "tree"))
    for path in (base / "tree").rglob("*"):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            assert status.st_mode & 0o700 == 0o700
        assert status.st_uid == os.geteuid()
    trees.remove(str(base / "tree"))
    assert os.listdir(base) == ["outside"] and os.listdir(outside) == ["precious"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o711


def test_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    trees.remove(str(tmp_path / "none"))
    trees.own(str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    trees.remove(str(tmp_path / "file"))
    trees.remove(str(tmp_path / "link"))
    assert (tmp_path / "file").exists(), "it is no folder"


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    trees.remove(str(tmp_path / "link"))
    assert (tmp_path / "real" / "inner").is_dir()


def test_a_mode_is_never_that_of_what_came_in_between(tmp_path: Path) -> None:
    """A link, or another file, in place of what was looked at keeps its mode, and so does its target."""
    target = tmp_path / "target"
    target.touch(mode=0o600)
    (tmp_path / "file").touch()
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        entry = trees.Entry(folder, "file", os.lstat(tmp_path / "file"))
        for replace in (lambda p: p.symlink_to(target), lambda p: os.link(target, p)):
            # It stays, so that its number is not given to another.
            (tmp_path / "file").rename(tmp_path / "aside")
            replace(tmp_path / "file")
            with pytest.raises(OSError, match="was replaced"):
                trees._set_mode(entry, 0o777)
            (tmp_path / "file").unlink()
            (tmp_path / "aside").rename(tmp_path / "file")
        trees._set_mode(entry, 0o606)
    finally:
        os.close(folder)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o606
