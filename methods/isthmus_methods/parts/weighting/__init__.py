"""Inverse probability weighting: weights, balance, weighted curves and fits."""
