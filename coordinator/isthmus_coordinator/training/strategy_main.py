"""A strategy's process: builds it from the plan, and asks the coordinator what it asks its nodes. Not for people."""

from __future__ import annotations

import gc
import os
import random
import resource
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from isthmus.errors import IsthmusError
from isthmus_methods.contract import Array
from isthmus_training import apps
from isthmus_training.exchange import Ask, Carried, NotCarried, Reply
from isthmus_training.frames import Broken, Words, read_frame, write_frame
from isthmus_training.stored import StoredArrays, receive

# Seconds of computing beyond those it may take for one answer before the kernel ends it.
_LEEWAY = 60


def main(arguments: Sequence[str]) -> int:
    """Descriptors to read, to write, to watch and to take files, memory (MiB) and seconds."""
    reads, writes, watched, files, memory, seconds = arguments
    threading.Thread(target=_watch, args=(int(watched),), daemon=True).start()
    pipe = _Pipe(
        os.fdopen(int(reads), "rb"), os.fdopen(int(writes), "wb"), socket.socket(fileno=int(files)), float(seconds)
    )
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
    def __init__(self, reads: BinaryIO, writes: BinaryIO, files: socket.socket, seconds: float) -> None:
        self._reads, self._writes, self._files, self._seconds = reads, writes, files, seconds

    def hear(self) -> Words:
        words, _ = read_frame(self._reads, 0)
        _allow(self._seconds)
        return words

    def tell(self, words: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        write_frame(self._writes, words, arrays)

    def carry(self, ask: Ask, nodes: tuple[int, ...]) -> Carried:
        """One round: asked of the coordinator, which asks the nodes."""
        # what the round before left, and points at itself: the models' files are closed with it
        gc.collect()
        self.tell({"kind": "ask", "type": ask.type, "config": dict(ask.config), "nodes": nodes}, ask.arrays)
        del ask  # a model is large: nothing holds it longer than it must
        asked = self._stored(self.hear())
        weights: dict[int, StoredArrays] = {}
        words = self.hear()
        while words["kind"] == "weights":
            weights[words["node"]] = self._stored(words)
            words = self.hear()
        return Carried({node: Reply(weights.pop(node), metrics) for node, metrics in words["replies"]}, asked)

    def _stored(self, words: Words) -> StoredArrays:
        return StoredArrays(receive(self._files), words["layout"])


def _work(pipe: _Pipe, memory_mib: int) -> None:
    try:
        plan = pipe.hear()
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

    types = {name: array.dtype for name, array in start.items()}

    def carry(ask: Ask, nodes: tuple[int, ...]) -> Carried:
        return pipe.carry(Ask(ask.type, _typed(ask.arrays, types), ask.config), nodes)

    identify(plan["run"], 0)
    gc.freeze()
    model = run_strategy(strategy, CarriedGrid(plan["nodes"], carry), start, plan["rounds"], keep_input=False)
    pipe.tell({"kind": "done"}, _typed(model, types))


def _typed(arrays: Mapping[str, Array], types: Mapping[str, np.dtype[Any]]) -> dict[str, Array]:
    """Arrays in the types of the app's own: a strategy such as FedAdam makes doubles of a model of floats."""
    return {name: array.astype(types[name], copy=False) if name in types else array for name, array in arrays.items()}


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
