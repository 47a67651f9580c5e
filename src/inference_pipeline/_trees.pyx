# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Walk boosted trees over rows without the GIL; `trees.py` packs the nodes and checks every argument.

`add_terms` is the linear trend under them (`trend.py`), where NumPy would need twenty calls for a single row.

Every tree is walked for its full depth without a branch. Two things make that possible. A leaf points to itself.
And a row of f features is widened to 2 f + 1 slots: the features with missing as -inf (a comparison sends it left),
the features with missing as +inf (right), and one +inf, which only leaves read. As the left child lies just before
the right one, a step is `node = right - (row[slot] < threshold)`.

Leaves are added in float32 and in the order of the trees, as XGBoost does, so margins are equal to the last bit.
"""

from libc.math cimport INFINITY, log
from libc.stdlib cimport free, malloc

cdef enum:
    LANES = 16  # rows, or trees of one row, walked together: a step waits for memory, and theirs overlap
    BLOCK = 64  # rows whose slots stay in the first-level cache while the trees pass by; a multiple of LANES
    FEW = 6  # up to here rows one by one are faster than LANES at once

ctypedef struct Node:
    float threshold  # of a leaf: its value
    unsigned short slot
    unsigned short right  # counted from the tree's root; of a leaf: itself

ctypedef struct Forest:
    const Node *nodes
    const Py_ssize_t *roots
    const int *depths
    const int *outputs
    Py_ssize_t trees


cdef void widen(const float *row, Py_ssize_t features, float *slots, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t f
    cdef float x
    for f in range(features):
        x = row[f]
        slots[f * stride] = x if x == x else -INFINITY
        slots[(features + f) * stride] = x if x == x else INFINITY
    slots[2 * features * stride] = INFINITY


cdef void walk_one_row(const float *slots, const Forest *forest, float *margin) noexcept nogil:
    """Add all trees' leaves to one row, LANES trees at a time."""
    cdef const Node *tree[LANES]
    cdef unsigned int at[LANES]
    cdef int step, lane, depth
    cdef Py_ssize_t group, first, index
    for group in range((forest.trees + LANES - 1) // LANES):
        first = group * LANES
        depth = 0
        for lane in range(LANES):
            index = min(first + lane, forest.trees - 1)  # idle lanes repeat the last tree
            tree[lane] = forest.nodes + forest.roots[index]
            depth = max(depth, forest.depths[index])
            at[lane] = 0
        for step in range(depth):
            for lane in range(LANES):
                at[lane] = tree[lane][at[lane]].right - (
                    slots[tree[lane][at[lane]].slot] < tree[lane][at[lane]].threshold
                )
        for lane in range(min(LANES, forest.trees - first)):
            margin[forest.outputs[first + lane]] += tree[lane][at[lane]].threshold


cdef void walk_one_tree(
    const float *slots, const Node *nodes, int depth, Py_ssize_t rows, Py_ssize_t width, float *margin
) noexcept nogil:
    """Add one tree's leaves to up to LANES rows, whose slots lie as [slot][lane] and margins `width` apart."""
    cdef unsigned int at[LANES]
    cdef int step, lane
    for lane in range(LANES):
        at[lane] = 0
    for step in range(depth):
        for lane in range(LANES):
            at[lane] = nodes[at[lane]].right - (
                slots[<Py_ssize_t>nodes[at[lane]].slot * LANES + lane] < nodes[at[lane]].threshold
            )
    for lane in range(rows):
        margin[lane * width] += nodes[at[lane]].threshold


cdef void walk_block(
    const float *X, Py_ssize_t rows, Py_ssize_t features, float *slots, const Forest *forest, Py_ssize_t k, float *margin
) noexcept nogil:
    """Add all trees' leaves to up to BLOCK rows: tree by tree, so that a tree is read from far memory once."""
    cdef Py_ssize_t groups = (rows + LANES - 1) // LANES, size = (2 * features + 1) * LANES, row, group, tree
    for row in range(groups * LANES):  # idle lanes repeat the last row
        widen(X + min(row, rows - 1) * features, features, slots + (row // LANES) * size + row % LANES, LANES)
    for tree in range(forest.trees):
        for group in range(groups):
            walk_one_tree(
                slots + group * size,
                forest.nodes + forest.roots[tree],
                forest.depths[tree],
                min(LANES, rows - group * LANES),
                k,
                margin + group * LANES * k + forest.outputs[tree],
            )


def add_margins(
    const float[:, ::1] X not None,
    const Node[::1] nodes not None,
    const Py_ssize_t[::1] roots not None,
    const int[::1] depths not None,
    const int[::1] outputs not None,
    float[:, ::1] margin not None,
):
    """Add every tree's leaf to `margin`, shape (n, k), for the rows of X, shape (n, features)."""
    cdef Py_ssize_t n = X.shape[0], features = X.shape[1], k = margin.shape[1], row, block
    cdef Forest forest
    cdef float *slots
    if n == 0 or roots.shape[0] == 0:
        return
    forest = Forest(&nodes[0], &roots[0], &depths[0], &outputs[0], roots.shape[0])
    slots = <float *>malloc(BLOCK * (2 * features + 1) * sizeof(float))
    if slots == NULL:
        raise MemoryError
    with nogil:
        if n <= FEW:
            for row in range(n):
                widen(&X[row, 0], features, slots, 1)
                walk_one_row(slots, &forest, &margin[row, 0])
        else:
            for block in range((n + BLOCK - 1) // BLOCK):
                row = block * BLOCK
                walk_block(&X[row, 0], min(BLOCK, n - row), features, slots, &forest, k, &margin[row, 0])
    free(slots)


def add_terms(
    const float[:, ::1] X not None,
    const Py_ssize_t[::1] columns not None,
    const double[::1] weights not None,
    const double[::1] absent not None,
    const double[::1] low not None,
    const double[::1] high not None,
    double[::1] total not None,
):
    """Add `weights[j] * log(x)`, or `absent[j]` where x is no positive number, to `total`, shape (n,), term by term."""
    cdef Py_ssize_t n = X.shape[0], terms = columns.shape[0], row, j
    cdef double value
    with nogil:
        for row in range(n):
            for j in range(terms):
                value = X[row, columns[j]]
                if value > 0:
                    total[row] += weights[j] * log(min(max(value, low[j]), high[j]))
                else:
                    total[row] += absent[j]
