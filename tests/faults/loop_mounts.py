"""A small ext4 file system on a loop device: it can be filled to the brim, or lose its power. For root."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from fault_homes import end_everything
from fault_processes import below, until

_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), linux/ext4.h
_NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: what the journal has not on disk is lost


def need(*tools: str, root: bool = False) -> None:
    """Skip where something is missing; with CI=true that is a failure."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if root and os.geteuid() != 0:
        absent.append("root's rights")
    if absent:
        missing(", ".join(absent))


def missing(what: str) -> NoReturn:
    """Skip; with CI=true, fail."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"missing here: {what}")


class Disk:
    """An ext4 image, mounted at `root`. Its home is `root / "home"`."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self._image = folder / "disk.img"
        self.root = folder / "disk"
        self.home = self.root / "home"
        self.root.mkdir()
        with open(self._image, "wb") as file:
            file.truncate(megabytes * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.root))

    def unmount(self) -> None:
        """Ends whatever works on the disk, and returns when the kernel has let go of the file system."""
        end_everything(self.root)
        until(lambda: not below(self.root), "no process on the disk", timeout=30)
        until(self._unmounted, "an unmounted disk", timeout=60)
        # A sandbox that is being set up elsewhere has a copy of every mount for a moment.
        until(self._is_released, "a disk that nobody has mounted", timeout=60)

    def _unmounted(self) -> bool:
        return subprocess.run(["umount", str(self.root)], capture_output=True).returncode == 0

    def _is_released(self) -> bool:
        found = subprocess.run(["losetup", "-j", str(self._image)], capture_output=True, check=True)
        return not found.stdout.strip()

    def cut_power(self) -> None:
        """From this moment nothing reaches the disk any more, and what only the cache held is gone."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """What a reboot does: every process is gone, and the journal is played back."""
        self.unmount()
        self.mount()

    def fill(self) -> None:
        """Take every free block, and the inodes' space with it."""
        with open(self.root / "ballast", "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(_Full):
                    while True:
                        _append(file.fileno(), size)

    def free(self) -> None:
        (self.root / "ballast").unlink()


class _Full(Exception):
    """No space is left."""


def _append(descriptor: int, size: int) -> None:
    try:
        if os.write(descriptor, b"\0" * size) < size:
            raise _Full
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from error


@contextlib.contextmanager
def disk(megabytes: int) -> Iterator[Disk]:
    """A mounted disk, taken away at the end whatever has happened.

    It is not mounted in a test's own folder: pytest removes old folders, and cannot remove a mount.
    """
    need("mkfs.ext4", "mount", "umount", root=True)
    place = Path(tempfile.mkdtemp(prefix="agent-runner-disk-"))
    place.chmod(0o755)  # a run may have another user
    made = Disk(place, megabytes)
    try:
        yield made
    finally:
        made.unmount()
        shutil.rmtree(place)


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
