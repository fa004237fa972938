"""The command about privacy: what noise in trained models has spent of each dataset, by the journal."""

from __future__ import annotations

from isthmus.command import say
from isthmus_node.commands.common import HomeOption, JsonOption, config_of, moment, show, show_table


def privacy(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what noise in trained models has spent of each dataset's privacy budget, over all runs."""
    from isthmus_node.egress.journal_read import read
    from isthmus_node.egress.privacy import ACCOUNTANT, DELTA, Spent, epsilon_of, spent_in

    where = config_of(home).home
    records = [entry.record for entry in read(where.journal) if entry.record.event == "DEBITED"]
    found = []
    for dataset, rho in Spent(where.auditor, records).totals().items():
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
