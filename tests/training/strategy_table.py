"""Writes the client's table of strategies from what the installed flwr takes.

``python tests/training/strategy_table.py``. The table lets the client check a strategy's arguments where flwr is not
installed; a test holds it against flwr.
"""

from __future__ import annotations

import inspect
import os
import types
import typing
from pathlib import Path

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}

TABLE = Path(__file__).resolve().parents[2] / "client/isthmus_client/training/flower_table.py"
# Set by isthmus: the names of the parts of a message.
OURS = {"arrayrecord_key", "configrecord_key"}
# Their model is text of trees, which no rule of a gate can judge.
TREES = {"FedXgbBagging", "FedXgbCyclic"}
WORDS = {int: "whole", float: "number", str: "text"}
HEAD = '''"""What the strategies of flwr 1.41 take: made by ``tests/training/strategy_table.py``, not by hand.

By strategy and argument: what it is (``number``, ``whole``, ``text``, or ``strategy`` for the one that is wrapped), and
its default; `REQUIRED` where there is none. Arguments that are functions are not here: no code travels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REQUIRED: Final = "required"
Default = float | int | str | None
'''


def table() -> str:
    """The text of the module."""
    import flwr.serverapp.strategy as flower

    lines = [HEAD, "STRATEGIES: Mapping[str, Mapping[str, tuple[str, Default]]] = {"]
    for name in sorted(flower.__all__):
        kind = getattr(flower, name)
        if name in TREES or inspect.isabstract(kind) or not issubclass(kind, flower.Strategy):
            continue
        lines.append(f'    "{name}": {{')
        hints = typing.get_type_hints(kind.__init__)
        for argument, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
            word = _word(hints[argument], flower.Strategy)
            if argument in OURS or word is None:
                continue
            given = "REQUIRED" if parameter.default is inspect.Parameter.empty else _written(parameter.default)
            lines.append(f'        "{argument}": ("{word}", {given}),')
        lines.append("    },")
    return "\n".join([*lines, "}"]) + "\n"


def _word(hint: object, strategy: type) -> str | None:
    if hint is strategy:
        return "strategy"
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((WORDS[option] for option in options if option in WORDS), None)


def _written(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
