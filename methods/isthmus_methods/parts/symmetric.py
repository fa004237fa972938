"""Symmetric matrices as they travel: the upper triangle, row by row."""

from __future__ import annotations

import numpy as np

from isthmus_methods.contract import Array


def packed(matrix: Array) -> Array:
    """Upper triangle of a symmetric matrix (p, p), row by row, (p (p + 1) / 2,)."""
    upper: Array = matrix[np.triu_indices(len(matrix))]
    return upper


def unpacked(upper: Array, p: int) -> Array:
    """The symmetric matrix (p, p) of an upper triangle, row by row."""
    full = np.zeros((p, p))
    full[np.triu_indices(p)] = upper
    return full + np.triu(full, 1).T
