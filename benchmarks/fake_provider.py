"""Node provider of Ray's fake nodes that behaves like a cloud: nodes start slowly, and dead nodes are removed.

Ray's provider starts them at once, and lists dead ones as pending forever.
"""

from __future__ import annotations

import time
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

STARTUP_S = 60.0


class Provider(FakeMultiNodeProvider):
    """Provider for ``provider: {type: external, module: fake_provider.Provider}`` of an autoscaler."""

    def create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        """Start nodes after a delay; runs in a thread of the autoscaler."""
        time.sleep(STARTUP_S)
        super().create_node_with_resources_and_labels(*arguments)

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[Any]:
        """Nodes whose processes run."""
        for name, machine in list(self._nodes.items()):
            node: Any = machine.get("node")
            if node is not None and node.dead_processes():
                self.terminate_node(name)
        return list(super().non_terminated_nodes(tag_filters))
