"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON."""

from vicc_ray.reports.run.build import build_report

__all__ = ["build_report"]
