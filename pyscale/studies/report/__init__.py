"""The report of a study: one page of tables and charts that needs no other file and no network."""

from pyscale.studies.report.page import SECTIONS, render_report
from pyscale.studies.report.parts import Chart, Section

__all__ = ["SECTIONS", "Chart", "Section", "render_report"]
