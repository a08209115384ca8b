"""The page of a sweep: one self-contained HTML file whose charts are complete without the script."""

from vicc_ray.reports.sweep.build import write_page

__all__ = ["write_page"]
