"""One HTML file that holds an analysis: tables, figures, methods, provenance. It needs no network to be read."""

from isthmus_client.report.page import write_report

__all__ = ["write_report"]
