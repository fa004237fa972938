"""Where a result comes from: study, run, and what each country gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one country gave."""

    country: str
    node: str
    state: str  # "contributed", "missing", "refused"
    releases: int
    bytes: int
    withheld: tuple[str, ...]
    reason: str
    policy_digest: str
    dataset_digest: str
    software: str
    reference: str  # numbers of permit and dossier, in the words of the country's custodian


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from: enough to find every byte of it in the journals of the countries."""

    study: str
    study_version: int
    study_digest: str
    analysis: str
    purpose: str
    run: str
    method: str
    rounds: int
    software: str
    started_at: datetime | None
    ended_at: datetime | None
    contributions: tuple[Contribution, ...]
    # Of a sealed study: for each round what all countries signed, the digests of keys and of shares, in hexadecimal.
    sealed: tuple[tuple[str, str], ...] = ()

    @property
    def references(self) -> dict[str, str]:
        """Country to the numbers of its permit and dossier, of those that named any."""
        return {c.country: c.reference for c in self.contributions if c.reference}

    def table(self) -> pd.DataFrame:
        """One row a country: state, releases, bytes, digests (their first 16 digits)."""
        import pandas as pd

        return pd.DataFrame(
            {
                "country": [c.country for c in self.contributions],
                "node": [c.node for c in self.contributions],
                "state": [c.state for c in self.contributions],
                "releases": [c.releases for c in self.contributions],
                "bytes": [c.bytes for c in self.contributions],
                "withheld": [len(c.withheld) for c in self.contributions],
                "policy": [c.policy_digest[:16] for c in self.contributions],
                "dataset": [c.dataset_digest[:16] for c in self.contributions],
                "software": [c.software for c in self.contributions],
                **({"reference": [c.reference for c in self.contributions]} if self.references else {}),
            }
        ).set_index("country")

    def __str__(self) -> str:
        lines = [
            f"study     {self.study}, version {self.study_version}, digest {self.study_digest}",
            f"analysis  {self.analysis or 'exploratory'} ({self.method}), for: {self.purpose}",
            f"run       {self.run}, {self.rounds} round{'s' * (self.rounds != 1)}, isthmus {self.software}",
        ]
        for k, (transcript, shares) in enumerate(self.sealed, start=1):
            lines.append(f"sealed    round {k}: all signed keys {transcript[:16]} and shares {shares[:16]}")
        for c in self.contributions:
            said = f"{c.country:<9} {c.state}: {c.bytes:,} bytes in {c.releases} release{'s' * (c.releases != 1)}"
            lines.append(said + (f"; {c.reason}" if c.reason else ""))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)
