"""From typed columns and a request to a method's summary: filter, complete cases, design, blocks, passes."""

from __future__ import annotations

from isthmus_node.compute.answer import Cache, Prepared, answer, blocks, prepare
from isthmus_node.compute.request import check_request

__all__ = ["Cache", "Prepared", "answer", "blocks", "check_request", "prepare"]
