"""Counts and groups: tables of arms and outcomes, exact tests, ranks, events by arm."""
