"""Features of whole videos and what they are judged by: retrieval, probes, classification."""
