"""The site's datasets, and the study's dictionary held against them."""

from __future__ import annotations

from isthmus_node.catalogue.datasets import Datasets
from isthmus_node.catalogue.findings import Finding, Severity, check_against
from isthmus_node.catalogue.registration import Mapped, Registration

__all__ = ["Datasets", "Finding", "Mapped", "Registration", "Severity", "check_against"]
