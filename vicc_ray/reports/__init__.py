"""Pages that people look at: the report of a run, the page of a sweep, and the charts of both."""
