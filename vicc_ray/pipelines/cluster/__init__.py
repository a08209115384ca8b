"""The Ray session, the resources of the cluster, and waiting for what is not free."""
