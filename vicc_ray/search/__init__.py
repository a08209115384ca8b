"""Search over videos: the features of windows, an index of them, ranking, pages and a server."""
