"""``python -m attacks``: mount the catalogue on real processes and say of each attack whether it is stopped."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attacks.attack import Attack, Listed, Outcome
from attacks.mount import Verdict, grouped, mount_all
from attacks.mounted import chosen
from attacks.network import Network


def main(arguments: list[str] | None = None) -> int:
    """Mount the attacks; 0 only where each is stopped by its guard and succeeds without it, or is none by design."""
    parser = argparse.ArgumentParser(prog="python -m attacks", description=__doc__)
    parser.add_argument("--only", default="", help="numbers with commas between, or a regular expression on titles")
    parser.add_argument("--out", type=Path, help="write what was found as JSON")
    parser.add_argument("--keep", type=Path, help="an empty folder for the network, kept afterwards")
    parser.add_argument("--table", action="store_true", help="print the catalogue as the documentation has it")
    options = parser.parse_args(arguments)
    attacks = chosen(options.only)
    if not attacks:
        parser.error(f"no attack's number or title fits {options.only!r}")
    if options.table:
        _say("\n".join(catalogue_table(attacks)))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attacks-", ignore_cleanup_errors=True) as folder:
        network = Network.set_up(options.keep or Path(folder))
        try:
            verdicts = mount_all(network, attacks, lambda v: _say(f"  {v.attack.name:<4} {v.standing}"))
        finally:
            network.close()
    _say("\n".join(table(verdicts)))
    summary = ", ".join(f"{number} {standing}" for standing, number in grouped(verdicts))
    _say(f"{len(verdicts)} attacks: {summary}; {time.monotonic() - began:.0f} s")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([figures(v) for v in verdicts], indent=1) + "\n", encoding="utf-8")
    return 0 if all(v.holds for v in verdicts) else 1


def table(verdicts: list[Verdict]) -> list[str]:
    """A line an attack."""
    lines = [f"{'#':<5}{'attack':<52}{'user':<13}{'off':<10}{'on':<10}{'':<14}why"]
    for v in verdicts:
        a = v.attack
        lines.append(
            f"{a.name:<5}{a.title[:50]:<52}{a.user:<13}{_word(v.off):<10}{_word(v.on):<10}{v.standing:<14}{v.why}"
        )
    return lines


def catalogue_table(attacks: Sequence[Attack | Listed]) -> list[str]:
    """The catalogue as a page's table: what is mounted, and why the others are not."""
    lines = ["| # | attack | by | defence | left out once | what stops it |", "| --- | --- | --- | --- | --- | --- |"]
    for a in attacks:
        if isinstance(a, Attack):
            codes = ", ".join(sorted(a.stopped_by))
            lines.append(f"| {a.name} | {a.title} | {a.user} | {a.defence} | {', '.join(a.guards)} | {codes} |")
        else:
            lines.append(f"| {a.name} | {a.title} | {a.user} | {a.defence} | - | **{a.standing}**: {a.why} |")
    return lines


def figures(verdict: Verdict) -> dict[str, object]:
    """As JSON."""
    attack = verdict.attack
    return {
        "attack": attack.name,
        "number": attack.number,
        "title": attack.title,
        "user": attack.user,
        "defence": attack.defence,
        "guards": list(getattr(attack, "guards", ())),
        "standing": verdict.standing,
        "holds": verdict.holds,
        "why": verdict.why,
        "document": getattr(attack, "document", ""),
        "off": _outcome(verdict.off),
        "on": _outcome(verdict.on),
    }


def _outcome(outcome: Outcome | None) -> dict[str, object] | None:
    if outcome is None:
        return None
    return {
        "succeeded": outcome.succeeded,
        "found": list(outcome.found),
        "codes": list(outcome.codes),
        "seconds": round(outcome.seconds, 2),
        "error": outcome.error,
    }


def _word(outcome: Outcome | None) -> str:
    return "-" if outcome is None else "succeeds" if outcome.succeeded else "fails"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
