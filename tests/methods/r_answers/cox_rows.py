"""Makes the rows of `cox_*.csv`, which R and the tests read. Run once: python cox_rows.py"""

import csv
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def write(name: str, columns: dict[str, list[object]]) -> None:
    with (HERE / f"cox_{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def shared(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "country": rng.choice(["AA", "BB", "CC", "DD"], n, p=[0.45, 0.3, 0.2, 0.05]),
        "arm": rng.choice(["control", "low", "high"], n),
        "sex": rng.choice(["f", "m"], n),
        "age": np.round(rng.normal(60, 9, n), 1),
        "marker": np.round(np.exp(rng.normal(3, 1.5, n)), 2),
        "site": rng.integers(1, 40, n),
    }


def risk(x: dict[str, np.ndarray]) -> np.ndarray:
    return (
        0.4 * (x["arm"] == "high")
        - 0.3 * (x["arm"] == "low")
        + 0.03 * (x["age"] - 60)
        + 0.2 * np.log(x["marker"])
        - 0.5 * (x["sex"] == "m")
    )


def ties() -> None:
    """Few distinct times, a site within one country, a row with a missing age."""
    rng = np.random.default_rng(20261122)
    n = 360
    x = shared(rng, n)
    x["site"] = np.array([f"{c}{s % 7}" for c, s in zip(x["country"], x["site"], strict=True)])
    event_at = np.ceil(rng.exponential(20, n) * np.exp(-risk(x)))
    censored_at = np.ceil(rng.uniform(1, 30, n))
    age = [repr(float(a)) for a in x["age"]]
    age[17] = ""
    write(
        "ties",
        {
            **{k: v.tolist() for k, v in x.items()},
            "age": age,
            "time": np.minimum(event_at, censored_at).astype(int).tolist(),
            "event": (event_at <= censored_at).astype(int).tolist(),
        },
    )


def entry() -> None:
    """Delayed entry and several rows a person, times with fractions; some times differ in the tenth digit only."""
    rng = np.random.default_rng(7)
    persons = 150
    x = shared(rng, persons)
    hazard = np.exp(risk(x)) / 25
    out: dict[str, list[object]] = {k: [] for k in ("id", *x, "start", "time", "event", "dose")}
    for i in range(persons):
        at = float(np.round(rng.uniform(0, 5), 2)) if i % 3 else 0.0
        for _ in range(int(rng.integers(1, 5))):
            dose = int(rng.integers(0, 3))
            wait = rng.exponential(1 / (hazard[i] * np.exp(0.2 * dose)))
            stop = round(at + float(min(wait, rng.uniform(2, 15))), 1)
            if stop <= at:
                continue
            stop += float(rng.choice([0.0, 0.0, 1e-10]))
            for k in x:
                out[k].append(x[k][i].item())
            out["id"].append(i + 1)
            out["start"].append(repr(at))
            out["time"].append(repr(stop))
            out["event"].append(int(at + wait <= stop + 0.05))
            out["dose"].append(dose)
            at = stop
    write("entry", out)


def alias() -> None:
    """A reference level without rows, a combination without rows, and a column that is a sum of two others."""
    rng = np.random.default_rng(11)
    n = 240
    x = shared(rng, n)
    x["arm"] = np.where((x["arm"] == "high") & (x["sex"] == "m"), "low", x["arm"])
    x["stage"] = rng.choice(["II", "III", "IV"], n)
    x["sum"] = np.round(x["age"] + 2 * x["marker"], 2)
    # constant within every country
    x["region"] = np.where(np.isin(x["country"], ["AA", "BB"]), 1.7, 0.3)
    event_at = rng.exponential(20, n) * np.exp(-risk(x))
    censored_at = rng.uniform(1, 30, n)
    write(
        "alias",
        {
            **{k: v.tolist() for k, v in x.items()},
            "time": [repr(float(t)) for t in np.round(np.minimum(event_at, censored_at) + 0.01, 2)],
            "event": (event_at <= censored_at).astype(int).tolist(),
        },
    )


def edges() -> None:
    """A country of one row, one without events, one without a level, one all missing; `exposed` separates."""
    rng = np.random.default_rng(3)
    n = 160
    x = shared(rng, n)
    x["country"] = rng.choice(["AA", "BB", "CC", "EE", "FF"], n)
    x["country"][0] = "DD"
    event_at = np.ceil(rng.exponential(20, n) * np.exp(-risk(x)))
    censored_at = np.ceil(rng.uniform(1, 30, n))
    event = event_at <= censored_at
    event[x["country"] == "BB"] = False
    x["arm"] = np.where((x["country"] == "CC") & (x["arm"] == "low"), "high", x["arm"])
    age = [repr(float(a)) for a in x["age"]]
    for i in np.flatnonzero(x["country"] == "EE"):
        age[i] = ""
    exposed = np.where(event, 0, rng.integers(0, 2, n))
    write(
        "edges",
        {
            **{k: v.tolist() for k, v in x.items()},
            "age": age,
            "exposed": exposed.tolist(),
            "time": np.minimum(event_at, censored_at).astype(int).tolist(),
            "event": event.astype(int).tolist(),
        },
    )


if __name__ == "__main__":
    ties()
    entry()
    alias()
    edges()
