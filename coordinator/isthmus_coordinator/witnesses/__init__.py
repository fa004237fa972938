"""Checkpoints of the nodes' journals: seen here, co-signed, and passed to other nodes that see them too."""
