"""Checkpoints of this node's journal that others co-sign, and this node as a witness of others. Holds no rows."""
