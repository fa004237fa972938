"""A whole network on this machine: a coordinator and nodes as separate processes with mutual TLS on loopback.

The demo runs on it, and so do the integration tests and the bench. It uses the three commands exactly as people do;
it has no road of its own into a node or the coordinator.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.errors import IsthmusError, from_exit_code
from isthmus_client.connection import Connection, connect, login

# Seconds a process may take until it says it is ready, and to end once asked to.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
# Seconds a study may take on its way from the author to a running node.
ARRIVAL_SECONDS = 60.0
# Commands and starting nodes at the same time: a network of thirty countries shall not ask for all memory at once.
AT_ONCE = 8


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(command: str) -> str:
    if os.sep in command:
        return command
    beside = Path(sys.executable).with_name(command)
    return str(beside) if beside.exists() else command


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of the network: nobody's settings but those given here."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ISTHMUS_") and not k.lower().endswith("_proxy")}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", **more}


def run_command(command: Sequence[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> object:
    """Run one of the three commands with ``--json`` and return the data of its envelope.

    Raises the `IsthmusError` that the command reported.
    """
    program, *rest = command
    done = subprocess.run(  # noqa: S603 - the program is one of our own three commands
        [_program(program), *rest, "--json"],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env=_environment(env or {}),
        check=False,
    )
    try:
        envelope = json.loads(done.stdout)
    except ValueError:
        raise IsthmusError(
            "COMMAND_BROKE", f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}", "report this"
        ) from None
    error = envelope.get("error")
    if done.returncode != 0 or error:
        error = error or {"code": "COMMAND_BROKE", "message": done.stderr[-2000:], "remedy": "report this"}
        raise from_exit_code(done.returncode, error["code"], error["message"], error["remedy"])
    data: object = envelope.get("data")
    return data


@dataclass(slots=True)
class Process:
    """A running coordinator or node."""

    name: str
    popen: subprocess.Popen[str]
    log: Path
    ready: str = ""
    _lines: queue.Queue[str | None] = field(default_factory=queue.Queue)

    @classmethod
    def start(cls, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> Self:
        """Start the process; `wait_ready` says when it can be used."""
        program, *rest = command
        with log.open("a", encoding="utf-8") as errors:
            # A session of its own: Ctrl-C reaches us first, and we end it in good order.
            popen = subprocess.Popen(  # noqa: S603 - one of our own commands
                [_program(program), *rest],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(env),
                start_new_session=True,
            )
        process = cls(name, popen, log)
        threading.Thread(target=process._read, daemon=True).start()
        return process

    def _read(self) -> None:
        stdout = self.popen.stdout
        if stdout is not None:
            with stdout:
                for line in stdout:
                    self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_ready(self, seconds: float = START_SECONDS) -> str:
        """Block until the process prints its readiness line and return it; raise what it said if it ends instead."""
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise IsthmusError(
                    "NOT_READY", f"{self.name} was not ready after {seconds:.0f} s", f"read its log: {self.log}"
                ) from None
            if line is None:
                self.popen.wait(STOP_SECONDS)
                raise from_exit_code(
                    self.popen.returncode,
                    "ENDED_EARLY",
                    f"{self.name} ended with {self.popen.returncode} before it was ready: {self.last_words()}",
                    f"read its log: {self.log}",
                )
            if line.startswith("ready "):
                self.ready = line
                return line

    def last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-600:].strip()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """End at once, as a power cut would."""
        self.popen.kill()
        self.popen.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Ask to end, wait, and kill if it does not. Returns the exit code."""
        if self.running:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode


class Sandbox:
    """A coordinator, nodes and one analyst under one folder. A context manager: leaving it ends every process."""

    def __init__(
        self,
        home: Path,
        *,
        name: str = "sandbox",
        host: str = "127.0.0.1",
        port: int = 0,
        programs: Path | None = None,
    ) -> None:
        """A network in a folder; `programs`: where the commands are taken from, if not beside this Python."""
        self.home = home
        self._programs = programs
        self.name = name
        self.host = host
        self.port = port or free_port()
        self.processes: dict[str, Process] = {}
        self.countries: dict[str, str] = {}
        for folder in ("logs", "tokens"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "tokens").chmod(0o700)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def coordinator_home(self) -> Path:
        return self.home / "coordinator"

    @property
    def profile(self) -> Path:
        """Where the analyst's certificate and keys are."""
        return self.home / "analyst"

    def node_home(self, node: str) -> Path:
        return self.home / f"node-{node}"

    # ------------------------------------------------------------------ setting up

    def init_coordinator(self, *more: str) -> None:
        self.coordinator("init", "--name", self.name, "--host", self.host, "--port", str(self.port), *more)

    def invite(self, name: str, role: str, country: str = "") -> Path:
        token = self.home / "tokens" / f"{role}-{name}.token"
        token.unlink(missing_ok=True)
        arguments = ["--role", role, "-o", str(token)]
        self.coordinator("invite", name, *(["--country", country] if country else []), *arguments)
        return token

    def join(self, countries: Mapping[str, str]) -> None:
        """Enrol nodes at the same time, each with its own one-use token.

        Parameters
        ----------
        countries
            Country of each node, by the node's name, e.g. ``{"nl": "NL"}``.
        """
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            tokens = dict(
                zip(countries, pool.map(lambda n: self.invite(n, "node", countries[n]), countries), strict=True)
            )
        self.at_each_node({node: ("join", str(token)) for node, token in tokens.items()})
        self.countries.update(countries)

    def login(self, analyst: str) -> None:
        """Enrol the statistician."""
        login(str(self.invite(analyst, "analyst")), str(self.profile))

    def connect(self) -> Connection:
        """The analyst's connection; close it when done."""
        return connect(profile=str(self.profile))

    # ------------------------------------------------------------------ commands

    def coordinator(self, *arguments: str) -> object:
        command, *rest = arguments
        return run_command([self._command("isthmus-coordinator"), command, *rest, "--home", str(self.coordinator_home)])

    def node(self, node: str, *arguments: str) -> object:
        return run_command([self._command("isthmus-node"), *arguments], env={"ISTHMUS_HOME": str(self.node_home(node))})

    def at_each_node(self, arguments: Mapping[str, Sequence[str]]) -> dict[str, object]:
        """Run a command at several nodes at the same time; what each returned."""
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            answers = {node: pool.submit(self.node, node, *words) for node, words in arguments.items()}
            return {node: answer.result() for node, answer in answers.items()}

    def approve(self, study: str, nodes: Iterable[str], reason: str = "") -> None:
        """Each custodian approves a study, once it has arrived at the node: the coordinator sends it as nodes attach.

        Raises the `IsthmusError` that a command reported; ``UNKNOWN_STUDY`` where it did not arrive in time.
        """
        words = ("approve", study, *(["--reason", reason] if reason else []))
        until = time.monotonic() + ARRIVAL_SECONDS

        def decide(node: str) -> None:
            while True:
                try:
                    self.node(node, *words)
                except IsthmusError as error:
                    if error.code != "UNKNOWN_STUDY" or time.monotonic() > until:
                        raise
                else:
                    return

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            for done in [pool.submit(decide, node) for node in nodes]:
                done.result()

    # ------------------------------------------------------------------ processes

    def start_coordinator(self) -> Process:
        command = self._command("isthmus-coordinator")
        return self._start("coordinator", [command, "run", "--home", str(self.coordinator_home)], {})

    def start_nodes(self, nodes: Iterable[str]) -> None:
        """Start nodes, some at the same time, and wait until each is attached to the coordinator."""
        chosen = list(nodes)
        for first in range(0, len(chosen), AT_ONCE):
            for process in [self.launch_node(node) for node in chosen[first : first + AT_ONCE]]:
                process.wait_ready()

    def launch_node(self, node: str, env: Mapping[str, str] | None = None) -> Process:
        """Start a node without waiting."""
        process = Process.start(
            f"node {node}",
            [self._command("isthmus-node"), "run"],
            self.home / "logs" / f"node-{node}.log",
            {"ISTHMUS_HOME": str(self.node_home(node)), **(env or {})},
        )
        self.processes[node] = process
        return process

    def _command(self, name: str) -> str:
        return name if self._programs is None else str(self._programs / name)

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Process:
        process = Process.start(name, command, self.home / "logs" / f"{name}.log", env)
        self.processes[name] = process
        process.wait_ready()
        return process

    def close(self) -> None:
        """End every process: nodes first, then the coordinator."""
        running = [p for p in self.processes.values() if p.running]
        for process in running:
            if process.name != "coordinator":
                with contextlib.suppress(ProcessLookupError):
                    process.popen.send_signal(signal.SIGTERM)
        for process in sorted(running, key=lambda p: p.name == "coordinator"):
            process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
