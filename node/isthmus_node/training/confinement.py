"""What a process gives up before an app's code runs in it: the network, files, other processes, what it inherited.

Three things of the Linux kernel, none of which needs rights, and none of which can be undone by the process:

- *seccomp*: no sockets, no new processes or threads, no signals, no changes to names of files (`syscalls.py`);
- *Landlock*, Linux 5.13: only the folders of Python and of its libraries can be opened, and only to be read;
- *namespaces*, where the kernel lets them be made: a network with nothing in it.

Without the first two an app does not run. What is left: a process can ask whether a path exists, and its size and times
(`stat`), where the node's user may.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from isthmus_node.training.syscalls import CLONE3, MACHINES, NEWEST, PRCTL, PRCTL_REFUSED, PRLIMIT, refused

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SIGKILL = 9
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITIES_3 = 0x20080522

# Landlock, the same numbers on every machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
# Kinds of access to files that each version of Landlock knows: all of them are taken away.
_ACCESSES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}

# Folders and files beside Python's own that libraries read: their shared objects, zones, what the processor is.
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/sys/devices/system/cpu",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
)


class NotConfined(Exception):
    """The kernel does not do what is needed; says what."""


def readable() -> tuple[Path, ...]:
    """What a confined process may read: Python, its packages, the system's libraries."""
    places = [*sys.path, *sysconfig.get_paths().values(), *_SYSTEM]
    found = {Path(place).resolve() for place in places if place and os.path.exists(place)}
    return tuple(sorted(found))


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends; ends it at once where the parent is gone."""
    _libc().prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def confine(parent: int, memory: int) -> tuple[str, ...]:
    """Give everything up, for good.

    Parameters
    ----------
    parent
        Number of the process that this one ends with.
    memory
        Most bytes of address space.
    Returns
    -------
    tuple
        What holds, in words.

    Raises
    ------
    NotConfined
        Where seccomp or Landlock is not there, or one of a few things that must fail does not.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in MACHINES:
        raise NotConfined(f"{sys.platform} on {machine} has no way to confine a process that is known here")
    libc = _libc()
    held = ["no sockets, processes, threads and signals (seccomp)"]
    # a filter binds the thread that asks for it and those it makes: there must be no other yet
    if len(os.listdir("/proc/self/task")) != 1:
        raise NotConfined("a library has started threads, which would not be confined")
    # after this nothing leads to a file of the node's user by a right of the superuser
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC) == 0:
        held.append("a network of its own with nothing in it (namespaces)")
    _drop_capabilities(libc, machine)
    # a change of rights takes these away, so they come after it
    _must(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")
    end_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    held.append(f"files of Python and its libraries only, to be read (Landlock {_landlock(libc)})")
    # libraries ask where temporary files go when they are imported; none can be made
    tempfile.tempdir = os.devnull
    _seccomp(libc, machine)
    _prove(parent)
    return tuple(held)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _tried(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _must(result: int, what: str) -> int:
    if result < 0:
        raise NotConfined(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def _drop_capabilities(libc: ctypes.CDLL, machine: str) -> None:
    header = struct.pack("=Ii", _CAPABILITIES_3, 0)
    if libc.syscall(_CAPSET[machine], header, struct.pack("=6I", 0, 0, 0, 0, 0, 0)) < 0:
        # a service manager may have taken the call away, and with it what there is to drop
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if "CapEff:\t0000000000000000" not in status or "CapPrm:\t0000000000000000" not in status:
            raise NotConfined("rights of the superuser cannot be given up")


def _landlock(libc: ctypes.CDLL) -> int:
    """Take all access to files away but reading what is `readable`; the version of Landlock that did."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        raise NotConfined("the kernel has no Landlock (Linux 5.13, and not switched off), which keeps files unread")
    accesses = _ACCESSES[min(version, max(_ACCESSES))]
    attributes = struct.pack("=Q", accesses)
    if version >= 4:
        attributes += struct.pack("=Q", 3)  # binding and connecting of TCP
    if version >= 6:
        attributes += struct.pack("=Q", 3)  # sockets without a file, and signals, of others
    rules = _must(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "Landlock")
    try:
        for place in readable():
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
            try:
                allowed = _READ_FILE | _EXECUTE | (_READ_DIR if place.is_dir() else 0)
                rule = struct.pack("=Qi", allowed, descriptor)
                _must(libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0), "Landlock")
            finally:
                os.close(descriptor)
        _must(libc.syscall(_RESTRICT_SELF, rules, 0), "Landlock")
    finally:
        os.close(rules)
    return int(version)


# Instructions of a filter: load a word, jump on equal, greater or equal, any bit set, and return (classic BPF).
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_LOW, _THIRD_LOW, _THIRD_HIGH = 0, 4, 16, 32, 36
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38


def program(machine: str) -> bytes:
    """The filter for a machine: each call's number is looked at, and of two an argument."""
    calls = refused(machine)
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, MACHINES[machine][1]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, NEWEST + 1),
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
        (_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, _ERROR | _ENOSYS),
    ]
    for call in calls:
        code += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ERROR | _EPERM)]
    # the kernel takes the first argument of this one as 32 bits
    code += [(_EQUAL, 0, 2 + 2 * len(PRCTL_REFUSED), PRCTL[machine]), (_LOAD, 0, 0, _FIRST_LOW)]
    for option in PRCTL_REFUSED:
        code += [(_EQUAL, 0, 1, option), (_RETURN, 0, 0, _ERROR | _EPERM)]
    code += [(_RETURN, 0, 0, _ALLOW)]
    # limits may be read, not set: a pointer to new ones is null
    code += [
        (_EQUAL, 0, 5, PRLIMIT[machine]),
        (_LOAD, 0, 0, _THIRD_LOW),
        (_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _THIRD_HIGH),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ERROR | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def _seccomp(libc: ctypes.CDLL, machine: str) -> None:
    code = program(machine)
    kept = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    whole = Program(len(code) // 8, ctypes.cast(kept, ctypes.c_void_p))
    _must(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(whole), 0, 0), "seccomp")


def _prove(parent: int) -> None:
    """Try what must not work; raises `NotConfined` where it does."""
    libc = _libc()

    def opened(path: str) -> Callable[[], object]:
        return lambda: os.close(os.open(path, os.O_RDONLY))

    tries: tuple[tuple[str, Callable[[], object]], ...] = (
        ("a socket", lambda: socket.socket().close()),
        ("a socket between processes", lambda: socket.socket(socket.AF_UNIX).close()),
        ("another process's memory", opened(f"/proc/{parent}/mem")),
        ("another process's environment", opened(f"/proc/{parent}/environ")),
        ("a signal", lambda: os.kill(parent, 0)),
        ("the folders of the machine", lambda: os.listdir("/")),
        ("a life after the node's", lambda: _tried(libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0))),
        ("new limits", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
    )
    for what, attempt in tries:
        try:
            attempt()
        except OSError:
            continue
        except ValueError:
            continue  # the limits' own name for a refusal
        raise NotConfined(f"{what} could be had in spite of it")
    try:
        child = os.fork()
    except OSError:
        return
    if child == 0:
        os._exit(0)
    raise NotConfined("a process could be made in spite of it")
