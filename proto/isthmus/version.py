"""The version of isthmus, and which versions may work together."""

from isthmus.errors import VersionError

__version__ = "0.1.0"


def check_compatible(ours: str, theirs: str, who: str) -> None:
    """Raise `VersionError` unless the two versions are at most one minor version apart.

    Parameters
    ----------
    ours, theirs
        Versions as ``major.minor.patch``.
    who
        The other side in words, for the message: "the coordinator", "node nl".
    """
    if _far_apart(ours, theirs):
        raise VersionError(
            "VERSIONS_APART",
            f"this side runs isthmus {ours}, {who} runs {theirs or 'an unknown version'}; "
            "rule: same major version, at most one minor version apart",
            "upgrade the older side to a version at most one minor version from the newer",
        )


def _far_apart(ours: str, theirs: str) -> bool:
    try:
        (a_major, a_minor), (b_major, b_minor) = (tuple(int(part) for part in v.split(".")[:2]) for v in (ours, theirs))
    except ValueError:
        return True
    return a_major != b_major or abs(a_minor - b_minor) > 1
