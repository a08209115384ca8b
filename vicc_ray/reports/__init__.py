"""HTML reports: the page of a run (``run``) and the page of a sweep (``sweep``), with one chart kit (``svg``)."""
