"""A trained model as it is kept: its weights in a file that numpy reads, and a card that says what it is.

The folder holds ``weights.npz`` (an array a name, no pickle), ``model-card.json`` for programs and ``model-card.md``
for people.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import ConfigError, UsageError
from isthmus.untrusted import json_text
from isthmus_client.training.card import CARD_VERSION, card_text
from isthmus_client.training.design import design
from isthmus_methods.contract import Spec, coefficient_names

if TYPE_CHECKING:
    import pandas as pd

WEIGHTS, CARD, CARD_TEXT = "weights.npz", "model-card.json", "model-card.md"
# Date of every member of the archive: the same weights are the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A trained model: its weights by name, the request that it was trained by, and its card."""

    weights: Mapping[str, Array]
    spec: Spec
    card: Mapping[str, Any]

    def __repr__(self) -> str:
        app = self.card["app"]
        return f"<Model {self.card['title']!r}: {app['name']} {app['version']}, {self.card['parameters']:,} numbers>"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the predictors' columns."""
        return coefficient_names(self.spec)

    def design(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """The predictors' columns over rows of one's own, (n, p), for an app of one's own; NaN where one is missing."""
        return design(self.spec, frame)

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Predicted probability of the outcome's second level, or the predicted number, for each row.

        Parameters
        ----------
        frame
            Rows with the variables of the model, as the study's dictionary has them.

        Returns
        -------
        (n,)
            NaN where a variable is missing.

        Raises
        ------
        UsageError
            ``NO_PREDICTION`` for an app that isthmus does not ship: `weights` and `design` are there for its own code.
        DataError
            Where the rows lack a variable.
        """
        forward = {"logistic": _linear, "mlp": _layers}.get(str(self.card["app"]["name"]))
        if forward is None:
            raise UsageError(
                "NO_PREDICTION",
                f"isthmus does not know how {self.card['app']['name']} predicts",
                "its weights are in .weights, the predictors' columns in .design(frame)",
            )
        eta = forward(self.weights, self.design(frame))
        outcome = self.spec.role("outcome")
        if not outcome or not self.spec.levels(outcome[0]):
            return eta
        small = np.exp(-np.abs(eta))
        return np.where(np.isnan(eta), np.nan, np.where(eta >= 0, 1.0, small) / (1.0 + small))


def _linear(weights: Mapping[str, Array], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    eta: NDArray[np.float64] = columns @ weights["weights"] + weights["intercept"][0]
    return eta


def _layers(weights: Mapping[str, Array], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """ReLU between the layers, as the app has it."""
    inputs, layers = columns, len(weights) // 2
    for layer in range(layers):
        inputs = inputs @ weights[f"{layer}.weight"].T.astype(np.float64) + weights[f"{layer}.bias"]
        if layer < layers - 1:
            inputs = np.maximum(inputs, 0.0)
    return inputs[:, 0]


# --------------------------------------------------------------------------- files


def save(model: Model, folder: Path) -> Path:
    """Write the model's three files into a folder, which is made.

    Raises
    ------
    ConfigError
        ``FILE_NOT_WRITTEN``.
    """
    raw = _archive(model.weights)
    named = {"file": WEIGHTS, "sha256": hashlib.sha256(raw).hexdigest()}
    card = {**model.card, "weights": {**model.card["weights"], **named}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(raw)
        (folder / CARD).write_text(json_text(card, indent=1) + "\n", encoding="utf-8")
        (folder / CARD_TEXT).write_text(card_text(card), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            "FILE_NOT_WRITTEN",
            f"the model could not be written to {folder}: {error.strerror or 'input/output error'}",
            "check that the folder can be written to and that the disk is not full",
        ) from error
    return folder


def load(folder: str | Path) -> Model:
    """A model from the folder it was saved in.

    Raises
    ------
    ConfigError
        ``FILE_MISSING``; ``NOT_A_MODEL`` where the card is none of this release's; ``WEIGHTS_CHANGED`` where the
        weights are not those that the card was written with.
    """
    from google.protobuf.json_format import ParseDict, ParseError

    from isthmus.v1 import spec_pb2, study_pb2
    from isthmus_methods.codec import spec_from_message

    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        raw = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ConfigError(
            "FILE_MISSING", f"{folder} holds no model: {error.strerror or 'input/output error'}", "check the name"
        ) from error
    except ValueError as error:
        raise _no_model(folder, "its card is no JSON") from error
    if not isinstance(card, dict) or card.get("schema_version") != CARD_VERSION:
        raise _no_model(folder, f"its card is not of version {CARD_VERSION}")
    try:
        if hashlib.sha256(raw).hexdigest() != card["weights"]["sha256"]:
            raise ConfigError(
                "WEIGHTS_CHANGED", f"{folder / WEIGHTS} is not the file that the card was written with", "save it again"
            )
        request = ParseDict(card["request"], spec_pb2.Spec())
        dictionary = ParseDict(card["dictionary"], study_pb2.Dataset())
        participants = [study_pb2.Participant(country=country) for country in card["participants"]]
        spec = spec_from_message(request, study_pb2.Study(datasets=[dictionary], participants=participants))
        return Model(_weights(raw), spec, card)
    except (KeyError, TypeError, ValueError, ParseError, UsageError) as error:
        raise _no_model(folder, "its card or its weights are damaged") from error


def _no_model(folder: Path, why: str) -> ConfigError:
    return ConfigError("NOT_A_MODEL", f"{folder} holds no model that can be read: {why}", "save it with this release")


def _archive(weights: Mapping[str, Array]) -> bytes:
    """What ``numpy.load`` reads; numpy's own writer takes no array whose name is that of one of its parameters."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, array in weights.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    return written.getvalue()


def _weights(raw: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
