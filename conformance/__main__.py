"""``python -m conformance CASES``: follow every case of a folder, a line each, and say whether all of them hold."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tempfile
from pathlib import Path

from conformance.case import read_case
from conformance.run import LIMIT, Outcome, run_case
from isthmus.errors import IsthmusError

# Lines that a case may say about what went wrong, unless asked for all.
SAID = 12


def main(arguments: list[str] | None = None) -> int:
    """Run the cases; 0 where every key of every case is there and within its tolerance."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("cases", type=Path, help="folder of cases, or one case")
    parser.add_argument("--out", type=Path, help="write figures a case as JSON")
    parser.add_argument("--answers", type=Path, help="write each case's assembled answer into this folder")
    parser.add_argument("--only", default="", help="regular expression: cases whose name it is found in")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds that the steps of one case may take")
    parser.add_argument("--all", action="store_true", help="name every key that fails")
    options = parser.parse_args(arguments)
    folders = [p.parent for p in sorted(options.cases.glob("*/case.json"))] or [options.cases]
    chosen = [f for f in folders if re.search(options.only, f.name) and (f / "case.json").exists()]
    if not chosen:
        parser.error(f"no case in {options.cases} has a name in which {options.only!r} is found")
    figures: dict[str, object] = {}
    for folder in chosen:
        outcome = _followed(folder, options.limit)
        _say(outcome, None if options.all else SAID)
        figures[folder.name] = _figures(outcome)
        if options.answers:
            _write(options.answers / f"{folder.name}.json", outcome.answer)
        if options.out:
            _write(options.out, figures)
    return 0 if all(isinstance(f, dict) and f["failed"] == 0 and f["keys"] for f in figures.values()) else 1


def _followed(folder: Path, limit: float) -> Outcome:
    case = read_case(folder)
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as home:
        try:
            return run_case(case, Path(home), limit)
        except IsthmusError as error:
            from conformance.compare import compare, expected_of

            said = Outcome(case, errors=[f"the network: {error.code}: {error.message}"])
            said.compared = compare({}, expected_of(case), case.tolerances)
            return said


def _figures(outcome: Outcome) -> dict[str, object]:
    worst = outcome.compared.worst
    return {
        "max_rel_error": None if worst is None else worst.error if math.isfinite(worst.error) else "Inf",
        "worst_key": None if worst is None else worst.key,
        "keys": len(outcome.compared.keys),
        "missing": len(outcome.compared.missing),
        "failed": len(outcome.compared.failed),
        "seconds": round(outcome.seconds, 1),
        "bytes_out": outcome.bytes_out,
    }


def _say(outcome: Outcome, most: int | None) -> None:
    compared = outcome.compared
    worst = f"max rel {compared.worst.error:.2g} at {compared.worst.key}" if compared.worst else "nothing to compare"
    verdict = "FAIL" if compared.failed or not compared.keys else "ok"
    _print(
        f"{verdict:<4} {outcome.case.name}: {worst}; {len(compared.keys)} keys, {len(compared.missing)} missing,"
        f" {len(compared.failed)} failed; {outcome.seconds:.1f} s, {outcome.bytes_out:,} bytes left"
    )
    for line in outcome.errors:
        _print(f"       error    {line}")
    for line in dict.fromkeys(outcome.caveats):
        _print(f"       caveat   {line}")
    off = [k for k in compared.failed if not k.missing]
    for key in off[:most]:
        _print(f"       off      {key.error:.2g}  {key.worst}")
    groups: dict[str, int] = {}
    for key in compared.missing:
        top = "/".join(key.key.split("/")[:4])
        groups[top] = groups.get(top, 0) + 1
    for top, count in list(groups.items())[:most]:
        _print(f"       missing  {count:>4}  {top}")
    if most is not None and (len(off) > most or len(groups) > most):
        _print("       ... --all names the others")


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - that is what it is for


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=list) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
