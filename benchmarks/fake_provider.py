"""Ray's fake machines, more like those of a cloud: they take a while to come up, and one that has died is gone.

Ray's own provider has them at once, and keeps a dead one for ever as one that is still to come.
"""

from __future__ import annotations

import time
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

COMES_UP_S = 60.0


class Provider(FakeMultiNodeProvider):
    """For an autoscaler's ``provider: {type: external, module: fake_provider.Provider}``."""

    def create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        """In a thread of the autoscaler's that may take its time."""
        time.sleep(COMES_UP_S)
        super().create_node_with_resources_and_labels(*arguments)

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[Any]:
        """Machines whose processes run."""
        for name, machine in list(self._nodes.items()):
            node: Any = machine.get("node")
            if node is not None and node.dead_processes():
                self.terminate_node(name)
        return list(super().non_terminated_nodes(tag_filters))
