"""R-like formulas and filters, parsed into the declared tree that travels. Text is never evaluated anywhere."""

from isthmus_client.formula.dictionary import Dictionary
from isthmus_client.formula.filters import parse_filter
from isthmus_client.formula.model import Model, Right, parse_model

__all__ = ["Dictionary", "Model", "Right", "parse_filter", "parse_model"]
