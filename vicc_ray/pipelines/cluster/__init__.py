"""Ray session, resources of the cluster, and waits for nodes and resources."""
