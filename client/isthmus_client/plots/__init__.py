"""Figures in publication form."""
