"""The search page: served, or as one file that carries its videos."""

from vicc_ray.search.page.carried import write_page
from vicc_ray.search.page.render import SCRIPT, STYLE, served_page

__all__ = ["SCRIPT", "STYLE", "served_page", "write_page"]
