"""Ray's fake machines, of which one that has died is gone, as in a cloud; Ray's own provider keeps it for ever."""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class Provider(FakeMultiNodeProvider):
    """For an autoscaler's ``provider: {type: external, module: fake_provider.Provider}``."""

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[Any]:
        """Machines whose processes run."""
        for name, machine in list(self._nodes.items()):
            if "node" in machine and machine["node"].dead_processes():
                self.terminate_node(name)
        return list(super().non_terminated_nodes(tag_filters))
