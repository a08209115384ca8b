"""Search page: served, or static as one self-contained file."""

from vicc_ray.search.html.render import SCRIPT, STYLE, served_page
from vicc_ray.search.html.static_page import write_page

__all__ = ["SCRIPT", "STYLE", "served_page", "write_page"]
