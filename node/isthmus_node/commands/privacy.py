"""The command about privacy: what noise in trained models has spent of each dataset, by the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.command import say
from isthmus_node.commands.common import HomeOption, JsonOption, config_of, moment, show, show_table

if TYPE_CHECKING:
    from isthmus.v1 import journal_pb2


class _Past:
    """The debits of a journal that is only read: nothing is paid for here."""

    def __init__(self, records: list[journal_pb2.Record]) -> None:
        self._records = records

    def debits(self) -> list[journal_pb2.Record]:
        return self._records

    def append(self, record: journal_pb2.Record) -> None:
        raise NotImplementedError


def privacy(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what noise in trained models has spent of each dataset's privacy budget, over all runs."""
    from isthmus_node.egress.journal_read import read
    from isthmus_node.egress.privacy import ACCOUNTANT, DELTA, Accountant, epsilon_of, spent_in

    where = config_of(home).home
    records = [entry.record for entry in read(where.journal) if entry.record.event == "DEBITED"]
    found = []
    for dataset, rho in Accountant(where.auditor, _Past(records)).totals().items():
        own = [record for record in records if record.dataset == dataset]
        found.append(
            {
                "dataset": dataset,
                "models": len(own),
                "runs": len({record.run for record in own}),
                "studies": sorted({record.study for record in own}),
                "rho": rho,
                "budget": spent_in(own[-1]).rho_budget,
                "epsilon": epsilon_of(rho),
                "delta": DELTA,
                "accountant": ACCOUNTANT,
                "last": moment(own[-1].recorded_at),
            }
        )

    def render() -> None:
        show_table(
            "",
            ["dataset", "models with noise", "runs", "rho spent", "of", "epsilon", "last"],
            [
                [
                    *(str(one[name]) for name in ("dataset", "models", "runs")),
                    *(f"{one[name]:.4g}" for name in ("rho", "budget", "epsilon")),
                    str(one["last"]),
                ]
                for one in found
            ],
            "no noise was drawn at this site: nothing is spent",
        )
        if found:
            say(
                f"for one person, reckoned by {ACCOUNTANT}, epsilon at delta {DELTA:g}; what was spent counts wherever "
                "the same persons are trained on. Only a model's weights have noise, not its measures and counts"
            )

    show(json, {"datasets": found}, render)
