"""The page of a sweep: one HTML file that needs nothing else and shows its charts without a script."""

from vicc_ray.reports.sweep.build import write_page

__all__ = ["write_page"]
