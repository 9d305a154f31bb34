"""Connected components of a graph that is given by its edges, in whole-array steps."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def connected(count: int, first: Indices, second: Indices) -> Indices:
    """`(count,)` labels: the lowest node that each node is connected with. Edge i joins `first[i]` and `second[i]`.

    Roots hook onto lower roots, then every path is compressed (Shiloach & Vishkin, "An O(log n) Parallel Connectivity
    Algorithm", 1982): a few rounds, however long a chain is.
    """
    labels = np.arange(count, dtype=np.int64)
    while len(first):
        lower, higher = np.minimum(labels[first], labels[second]), np.maximum(labels[first], labels[second])
        np.minimum.at(labels, higher, lower)
        while not np.array_equal(labels, jumped := labels[labels]):
            labels = jumped
        apart = labels[first] != labels[second]
        first, second = first[apart], second[apart]
    return labels
