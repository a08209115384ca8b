"""Charts as inline SVG, shared by the pages."""
