"""The page of a sweep: one HTML file that needs nothing else and shows its charts without a script."""

from vicc_ray.sweep.page.render import write_page

__all__ = ["write_page"]
