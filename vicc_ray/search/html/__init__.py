"""The search page: served, or as one file that carries its videos."""

from vicc_ray.search.html.render import SCRIPT, STYLE, served_page
from vicc_ray.search.html.static_page import write_page

__all__ = ["SCRIPT", "STYLE", "served_page", "write_page"]
