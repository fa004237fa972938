"""A strategy's process: builds it from the plan, and asks the coordinator what it asks its nodes. Not for people."""

from __future__ import annotations

import os
import random
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import IsthmusError
from isthmus_methods.contract import Array
from isthmus_training import apps
from isthmus_training.exchange import Ask, NotCarried, Reply
from isthmus_training.frames import Broken, Words, read_frame, write_frame

# What the coordinator tells is not measured: it is its own.
_NO_BOUND = 1 << 62
# Seconds of computing beyond those it may take for one answer before the kernel ends it.
_LEEWAY = 60


def main(arguments: Sequence[str]) -> int:
    """Descriptors to read, to write and to watch, memory (MiB) and seconds."""
    reads, writes, watched, memory, seconds = arguments
    threading.Thread(target=_watch, args=(int(watched),), daemon=True).start()
    pipe = _Pipe(os.fdopen(int(reads), "rb"), os.fdopen(int(writes), "wb"), float(seconds))
    try:
        try:
            _work(pipe, int(memory))
        except Broken:
            raise
        except MemoryError:
            pipe.tell({"kind": "failed", "code": "OUT_OF_MEMORY"})
        except NotCarried as error:
            pipe.tell({"kind": "failed", "code": error.code})
        except Exception:  # noqa: BLE001 - its text may hold anything, and goes nowhere
            pipe.tell({"kind": "failed", "code": "STRATEGY_FAILED"})
    except Broken:
        return 1
    return 0


class _Pipe:
    def __init__(self, reads: BinaryIO, writes: BinaryIO, seconds: float) -> None:
        self._reads, self._writes, self._seconds = reads, writes, seconds

    def hear(self) -> tuple[Words, dict[str, Array]]:
        heard = read_frame(self._reads, _NO_BOUND)
        _allow(self._seconds)
        return heard

    def tell(self, words: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        write_frame(self._writes, words, arrays)

    def carry(self, ask: Ask, nodes: tuple[int, ...]) -> Mapping[int, Reply]:
        """One round: asked of the coordinator, which asks the nodes."""
        self.tell({"kind": "ask", "type": ask.type, "config": dict(ask.config), "nodes": nodes}, ask.arrays)
        del ask  # a model is large: nothing holds it longer than it must
        weights: dict[int, dict[str, Array]] = {}
        words, arrays = self.hear()
        while words["kind"] == "weights":
            weights[words["node"]] = arrays
            words, arrays = self.hear()
        return {node: Reply(weights.pop(node), metrics) for node, metrics in words["replies"]}


def _work(pipe: _Pipe, memory_mib: int) -> None:
    try:
        plan, _ = pipe.hear()
        _bound(memory_mib)
    except (OSError, ValueError) as error:
        raise NotCarried("NOT_BOUNDED") from error
    # not before: what may take memory and time is bounded by now
    from isthmus_coordinator.training.strategies import NotMade, make

    try:
        _seed(bytes.fromhex(plan["seed"]))
        strategy = make(plan["strategy"], plan["strategies"])
        start = _starting_values(plan)
    except NotMade as error:
        pipe.tell({"kind": "refused", "code": error.code, "name": error.name, "known": error.known})
        return
    if plan["kind"] == "check":
        pipe.tell({"kind": "checked", "parameters": sum(int(array.size) for array in start.values())})
        return
    from isthmus_training.flower import CarriedGrid, identify, run_strategy

    def carry(ask: Ask, nodes: tuple[int, ...]) -> Mapping[int, Reply]:
        return pipe.carry(Ask(ask.type, _typed(ask.arrays, start), ask.config), nodes)

    identify(plan["run"], 0)
    model = run_strategy(strategy, CarriedGrid(plan["nodes"], carry), start, plan["rounds"])
    pipe.tell({"kind": "done"}, _typed(model, start))


def _typed(arrays: Mapping[str, Array], start: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays in the types of the app's own: a strategy such as FedAdam makes doubles of a model of floats."""
    return {
        name: array.astype(start[name].dtype, copy=False) if name in start else array for name, array in arrays.items()
    }


def _starting_values(plan: Mapping[str, Any]) -> dict[str, Array]:
    from isthmus_coordinator.training.strategies import NotMade

    app = plan["app"]
    try:
        installed = apps.find(app["name"])
    except IsthmusError as error:
        raise NotMade("APP_NOT_HERE", app["name"], apps.names()) from error
    # held against the plan before any of it runs
    if (installed.version, installed.digest.hex()) != (app["version"], app["digest"]):
        raise NotMade("OTHER_APP", app["name"])
    try:
        loaded = apps.load(installed.module)
    except Exception as error:
        raise NotMade("APP_FAILED", app["name"]) from error
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in app["settings"].items()}
    try:
        settings = apps.settings_of(loaded.offered, settings)
    except IsthmusError as error:
        raise NotMade("WRONG_SETTING", app["name"]) from error
    try:
        return apps.starting_values(loaded, app["columns"], app["levels"], settings, app["seed"])
    except Exception as error:
        raise NotMade("APP_FAILED", app["name"]) from error


def _seed(secret: bytes) -> None:
    random.seed(secret)
    np.random.seed(np.frombuffer(secret, dtype="<u4"))
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(int.from_bytes(secret[:8], "little") >> 1)


def _bound(memory_mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # a strategy writes no file
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _allow(seconds: float) -> None:
    """So much more computing: the kernel ends what goes on when nobody is there to end it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + _LEEWAY
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def _watch(descriptor: int) -> None:
    """End this process once the coordinator's has ended, whatever the strategy is at."""
    os.read(descriptor, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
