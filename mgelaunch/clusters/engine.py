"""What is wanted of an engine that is to start the ranks."""

from typing import NamedTuple


class Wanted(NamedTuple):
    """So many nodes, and so many ranks on each of them."""

    nodes: int
    per_node: int

    @property
    def world(self) -> int:
        """How many ranks that makes."""
        return self.nodes * self.per_node
