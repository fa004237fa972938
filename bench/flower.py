"""The same rounds under Flower's own engine: its processes on loopback, from the package that is installed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus_client.sandbox import free_port

APP = Path(__file__).parent / "training_app"
# Seconds that starting it, and a run, may take.
READY, RUN = 60.0, 240.0


def flower_seconds(folder: Path, numbers: int, rounds: int, nodes: int = 3) -> list[float]:
    """Seconds of each round of a FedAvg over so many numbers, as its strategy sees them.

    Raises
    ------
    RuntimeError
        Where it does not start, or does not end in time; the text says what its log ends with.
    """
    folder.mkdir(parents=True)
    out = folder / "seconds.json"
    port = free_port()
    home = folder / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n',
        encoding="utf-8",
    )
    with _processes(folder, home, port, nodes):
        until = time.monotonic() + READY
        given = f'numbers={numbers} rounds={rounds} out="{out}"'
        while _flwr(home, "run", str(APP), "bench", "--run-config", given).returncode:
            if time.monotonic() > until:
                raise RuntimeError(f"Flower took no run: {_last_words(folder)}")
            time.sleep(0.5)
        until = time.monotonic() + RUN
        while not (out.exists() and out.read_text(encoding="utf-8").endswith("]")):
            if time.monotonic() > until:
                raise RuntimeError(f"Flower's run did not end within {RUN:.0f} s: {_last_words(folder)}")
            time.sleep(0.2)
    found: list[float] = json.loads(out.read_text(encoding="utf-8"))
    return found


@contextmanager
def _processes(folder: Path, home: Path, port: int, nodes: int) -> Iterator[None]:
    link = ["flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation"]
    node = ["flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for k in range(nodes + 1):
            command = link if k == 0 else [*node, "--port", str(free_port())]
            with (folder / f"{k}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        _here(command), stdout=log, stderr=log, env=_environment(home), start_new_session=True
                    )
                )
        yield
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _flwr(home: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        _here(["flwr", *arguments]), capture_output=True, env=_environment(home), timeout=60, check=False
    )


def _here(command: list[str]) -> list[str]:
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def _environment(home: Path) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    own = {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    # its processes start others by their name alone
    return {
        **os.environ,
        **own,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _last_words(folder: Path) -> str:
    return " | ".join(
        p.read_text(encoding="utf-8", errors="replace")[-300:].strip() for p in sorted(folder.glob("*.log"))
    )
