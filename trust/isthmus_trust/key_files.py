"""Files that hold secrets: written once, readable by their owner only, never half written."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from isthmus.errors import ConfigError

OWNER_ONLY = 0o600
OWNER_ONLY_FOLDER = 0o700


def write_new(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 that must not exist yet; after a crash it is whole or absent.

    Raises
    ------
    ConfigError
        ``KEY_EXISTS`` if there is a file of that name; it is left as it is. ``KEY_NOT_WRITTEN`` if the disk or the
        folder does not let it be written.
    """
    pending = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _make_folder(path.parent)
        _write_durably(pending, content)
        # a link, not a rename: it fails where the name is taken, so no key is ever replaced
        os.link(pending, path)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise ConfigError(
            "KEY_EXISTS",
            f"{path} is there already; rule: a key is never overwritten",
            "keep using it, or move it away first if it is really no longer wanted",
        ) from error
    except OSError as error:
        raise ConfigError(
            "KEY_NOT_WRITTEN",
            f"{path} could not be written: {error.strerror or 'input/output error'}",
            "check that the folder exists, belongs to this user and that the disk is not full",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            pending.unlink()


def replace(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 in place of an older one, at once: readers see the old or the new one whole.

    For what is renewed (certificate chains); keys are written with `write_new`.
    """
    pending = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _make_folder(path.parent)
        _write_durably(pending, content)
        pending.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            pending.unlink()
        raise ConfigError(
            "FILE_NOT_WRITTEN",
            f"{path} could not be written: {error.strerror or 'input/output error'}",
            "check that the folder exists, belongs to this user and that the disk is not full",
        ) from error


def read_secret(path: Path) -> bytes:
    """Content of a file that only its owner may read.

    Raises
    ------
    ConfigError
        ``KEY_MISSING``, ``KEY_UNREADABLE``, or ``KEY_OPEN_TO_OTHERS`` where group or others have any right on it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except FileNotFoundError as error:
        raise ConfigError(
            "KEY_MISSING",
            f"there is no key file {path}",
            "restore it from the backup, or enrol again with a new token",
        ) from error
    except OSError as error:
        raise ConfigError(
            "KEY_UNREADABLE",
            f"{path} could not be read: {error.strerror or 'input/output error'}",
            "run the command as the user the file belongs to",
        ) from error
    if mode & 0o077:
        raise ConfigError(
            "KEY_OPEN_TO_OTHERS",
            f"{path} has mode {mode:04o}; rule: nobody but its owner may read a key (mode 0600)",
            f"chmod 600 {path}",
        )
    return content


def _make_folder(folder: Path) -> None:
    # one by one: `parents=True` makes the upper ones open to everybody
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), OWNER_ONLY)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
