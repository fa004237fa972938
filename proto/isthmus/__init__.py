"""What every part of isthmus shares: the contract (`isthmus.v1`), the version and the errors."""

from isthmus.version import __version__

__all__ = ["__version__"]
