"""The parts of a policy file: preset, purposes, recipients, words; each held against the loosest it may be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from types import MappingProxyType

from isthmus.errors import ConfigError
from isthmus_node.egress import presets
from isthmus_node.egress.pace import RELEASE
from isthmus_node.egress.policy_keys import Bound, bad, choice, known, limits as limits_of, numbers, table, words
from isthmus_node.egress.presets import NO_PRESET, Preset
from isthmus_node.egress.thresholds import PURPOSES, RECIPIENTS, Limits, Number, compiled_in, strictest
from isthmus_node.egress.training_thresholds import NOT_CUT

Text = Mapping[str, object]
# Tables whose keys are read in several places.
TABLES: Mapping[str, tuple[str, ...]] = {"release": RELEASE, "runs": ("each", "other_countries")}


def preset(file: Text) -> tuple[str, Preset]:
    """The preset that a file names, by name; one that asks for nothing where it names none."""
    name = file.get("preset", "")
    if not isinstance(name, str):
        raise bad("preset", f"one of {', '.join(presets.names())}")
    if not name:
        return "", NO_PRESET
    known({name: True}, presets.names(), "preset ")
    return name, presets.preset(name)


def purpose(purpose: str, written: Text, name: str, under: Preset) -> Limits:
    """The thresholds of one purpose: defaults, tightened by the preset, and what the file says instead."""
    default, floor = compiled_in(PURPOSES[purpose])
    asked: Mapping[str, Number] = under.limits.get(PURPOSES[purpose], {})
    start = strictest([default, replace(default, **asked)])  # type: ignore[arg-type]  # read in the default's types
    found = limits_of(
        start,
        numbers(written, f"purpose.{purpose}", default),
        f"purpose.{purpose}",
        (
            Bound(asdict(floor), "POLICY_BELOW_FLOOR", "isthmus allows for this purpose", "the floor"),
            Bound(asked, "POLICY_BELOW_PRESET", f"preset {name} lets it be", f"the preset's number for {name}"),
        ),
    )
    return _noise_has_a_norm(found, f"purpose.{purpose}")


def recipients(purpose: str, written: object, own: Limits) -> Mapping[int, Limits]:
    """The recipients a purpose names, each with thresholds that are the purpose's own or tighter."""
    at = f"purpose.{purpose}.recipient"
    bound = Bound(asdict(own), "POLICY_RECIPIENT_LOOSER", f"[purpose.{purpose}] itself", "the purpose's own number")
    return MappingProxyType(
        {
            RECIPIENTS[part]: _noise_has_a_norm(
                limits_of(own, numbers(table(there, f"[{at}.{part}]"), f"{at}.{part}", own), f"{at}.{part}", (bound,)),
                f"{at}.{part}",
            )
            for part, there in known(table(written, f"[{at}]"), RECIPIENTS, f"{at}.").items()
        }
    )


def _noise_has_a_norm(limits: Limits, where: str) -> Limits:
    """Noise is a multiple of the norm that a change is cut to: without a norm it would be none, or drown everything."""
    if limits.update_noise > 0 and limits.update_norm >= NOT_CUT:
        raise bad(f"{where}.update_noise", "noise has a norm that it is a multiple of: set update_norm beside it")
    return limits


def word(file: Text, name: str, key: str, order: tuple[str, ...], default: str, loosest: str, preset: str) -> str:
    """A word of an order from tight to loose, no looser than the preset's."""
    found = known(named(file, name), TABLES.get(name, (key,)), f"{name}.").get(key)
    where = f"{name}.{key}"
    word = default if found is None else choice(found, order, where)
    if order.index(word) <= order.index(loosest):
        return word
    if found is None:
        return loosest
    raise ConfigError(
        "POLICY_BELOW_PRESET",
        f'{where} is looser than preset {preset} lets it be; rule: the loosest there is "{loosest}"',
        f'set it to "{loosest}", or take it out',
    )


def methods(written: Text, installed: Collection[str]) -> frozenset[str] | None:
    """The methods that may run; None: all that are installed."""
    if "allow" not in known(written, ("allow",), "methods."):
        return None
    allowed = words(written["allow"], "methods.allow")
    if installed:
        known(dict.fromkeys(allowed), installed, "method ")
    return frozenset(allowed)


def named(file: Text, name: str) -> Text:
    """A table of the file, empty where it has none."""
    return table(file.get(name, {}), f"[{name}]")
