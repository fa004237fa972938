"""One HTML file that holds an analysis: tables, figures, methods, provenance. It needs no network to be read."""

from isthmus_client.report.document import results_document, write_results
from isthmus_client.report.page import report_html, write_report

__all__ = ["report_html", "results_document", "write_report", "write_results"]
