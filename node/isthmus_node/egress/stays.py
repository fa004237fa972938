"""How few persons the sums over those at risk at several times tell apart together.

The sum over those at risk at a time is over everybody who has come and not yet gone. A combination of such sums, y_1
to y_J, gives a person the total of y over his stay: Y_b - Y_a, where Y_j = y_1 + ... + y_j, and he comes at a and goes
at b. So it is zero for all but those whose a and b have different Y. With places as nodes, and each person as an edge
from a to b, these are the edges of a cut: the fewest persons whom any combination tells apart are the smallest cut of
any connected part. Where nobody comes late each edge starts at the first place, and that is the smallest group that
leaves.

Source of the algorithm: Nagamochi and Ibaraki 1992 (edges that no small cut separates), Stoer and Wagner 1997.
"""

from __future__ import annotations

import functools
import heapq

import numpy as np

from isthmus_methods.contract import Integers

_Graph = dict[int, dict[int, int]]


def tells_few(stays: Integers, fewest: int) -> bool:
    """Whether some combination of the sums is over at least one person and fewer than so many.

    Parameters
    ----------
    stays
        (m, 3): where persons come, where they go, which is another place, and how many do so.
    """
    return _tells_few(stays.astype(np.int64).tobytes(), fewest)


# the rounds of a fit ask about the same stays
@functools.lru_cache(maxsize=8)
def _tells_few(body: bytes, fewest: int) -> bool:
    graph: _Graph = {}
    for come, go, persons in np.frombuffer(body, dtype=np.int64).reshape(-1, 3).tolist():
        for one, other in ((come, go), (go, come)):
            graph.setdefault(one, {})[other] = graph.get(one, {}).get(other, 0) + persons
    while graph:
        order, near = _phase(graph, fewest)
        # no cut between the last of an order and the one before it is smaller than what the last holds to all others
        if 0 < sum(graph[order[-1]].values()) < fewest:
            return True
        graph = _merged(graph, [*near, (order[-2], order[-1])])
    return False


def _phase(graph: _Graph, fewest: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Nodes of a connected part, next always the one most held by those before; and pairs that no small cut parts."""
    start = next(iter(graph))
    order: list[int] = []
    near: list[tuple[int, int]] = []
    held, heap = {start: 0}, [(0, start)]
    done: set[int] = set()
    while heap:
        _, node = heapq.heappop(heap)
        if node in done:
            continue
        done.add(node)
        order.append(node)
        for other, persons in graph[node].items():
            if other not in done:
                held[other] = held.get(other, 0) + persons
                heapq.heappush(heap, (-held[other], other))
                if held[other] >= fewest:
                    near.append((node, other))
    return order, near


def _merged(graph: _Graph, pairs: list[tuple[int, int]]) -> _Graph:
    """The graph with the nodes of each pair as one; a node without an edge is none any more."""
    root = {node: node for node in graph}

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for one, other in pairs:
        root[find(one)] = find(other)
    merged: _Graph = {}
    for node, edges in graph.items():
        for other, persons in edges.items():
            one, two = find(node), find(other)
            if one != two:
                merged.setdefault(one, {})[two] = merged.get(one, {}).get(two, 0) + persons
    return merged
