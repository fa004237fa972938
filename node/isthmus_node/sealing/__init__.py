"""Rounds of a sealed study at this node: what is let in, what is said in them, and what follows from their sums."""
