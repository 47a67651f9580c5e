"""How alike rows are to a model, from 0 to 1, and which of the known ones are most like another."""

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from src.core.errors import BundleError
from src.core.scale import softmax
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.models import Model

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

# What all weights add up to, in whole units. Sums of whole numbers up to 2^24 are exact in float32, so the order in
# which a processor adds them changes nothing.
UNITS = 2**24
# The trees that matter most, in which every known row is compared; in the others only rows that may still be among
# the best.
FIRST_TREES = 256

# Positions of the best known rows, best first and of equal ones the earlier, and how alike they are.
Best = tuple[NDArray[np.intp], Array]


class Similarity(Protocol):
    """Find among n known rows those most like one row, whose features are float32 of shape (1, f)."""

    def __call__(self, x: Floats, limit: int) -> Best: ...


class LeafAgreement:
    """The share of the trees in which two rows end in the same leaf, each tree weighted by how much it matters.

    The measure of the Cook County Assessor's models (ccao-data: lightsnip, vignettes/finding-comps; model-res-avm,
    R/comps.R): a tree matters as much as it lowers the mean absolute error on the known rows, and not at all where it
    raises it. A trend under the trees counts as the first of them. It has no leaves: rows agree in it by exp(-d), d
    being how far their trends are apart in standard deviations (Shepard 1987).
    """

    def __init__(self, model: BoostedTrees, X: Floats, z: Array) -> None:
        """Compare with the known rows X, shape (n, f), whose targets on the model's scale, or class numbers, are z.

        Raises:
            BundleError: the model is not of trees that only add up.
        """
        weights, leaves = error_reductions(model, X, z)
        if not weights.any():
            weights[1:] = 1
        units = np.floor(weights / weights.sum() * UNITS)
        self._order = np.argsort(-units[1:], kind="stable")
        self._model = model
        self._trend_units, self._units = units[0], units[1:][self._order].astype(np.float32)
        self._whole = units.sum()
        # A leaf in which no known row is, whatever its number, gets one that none of them has.
        self._nowhere = int(leaves.max(initial=0)) + 1
        parts = np.split(leaves.astype(np.min_scalar_type(self._nowhere))[:, self._order], [FIRST_TREES], axis=1)
        self._first, self._others = (np.ascontiguousarray(part) for part in parts)
        self._trend = model.trend(X)
        self._spread = float(self._trend.std()) or 1.0

    def __call__(self, x: Floats, limit: int) -> Best:
        leaf = np.minimum(self._model.leaves(x)[0].astype(np.intp), self._nowhere)[self._order]
        leaf = leaf.astype(self._first.dtype)
        first, others = self._units[:FIRST_TREES], self._units[FIRST_TREES:]
        apart = np.abs(self._trend - self._model.trend(x)) / self._spread
        sure = self._trend_units * np.exp(-apart) + _shared(self._first, leaf[:FIRST_TREES], first)
        least = np.partition(sure, -limit)[-limit] if limit < len(sure) else 0.0
        chosen = np.flatnonzero(sure + others.sum() >= least)
        alike = sure[chosen] + _shared(self._others[chosen], leaf[FIRST_TREES:], others)
        return _best(chosen, alike / self._whole, limit)


def _shared(leaves: NDArray[np.unsignedinteger], leaf: NDArray[np.unsignedinteger], units: Floats) -> Floats:
    """Add up the units of the trees in which rows, leaves of shape (n, trees), end in the given leaf."""
    # Not BLAS, whose threads wait for each other on a busy machine.
    return np.asarray(np.einsum("rt,t->r", leaves == leaf, units))


def _best(rows: NDArray[np.intp], alike: Array, limit: int) -> Best:
    order = np.argsort(-alike, kind="stable")[:limit]
    return rows[order], alike[order]


def error_reductions(model: BoostedTrees, X: Floats, z: Array) -> tuple[Array, NDArray[np.unsignedinteger]]:
    """Return by how much the trend, then each tree, lowers the mean absolute error, and the leaves that say so.

    The former has shape (1 + trees,), none below 0, and 0 where there is no trend; the leaves are those of
    `model.leaves`. Of classes, the error is what a row's own class lacks to probability 1.
    """
    values, outputs = model.tree_outputs()
    margin, leaves = model.margin(X), model.leaves(X)
    rows = np.arange(len(X))

    def error() -> float:
        if margin.shape[1] == 1:
            return float(np.abs(z - margin[:, 0]).mean())
        return float(1 - softmax(margin)[rows, z.astype(np.intp)].mean())

    errors = [error()]
    # Backwards from the whole model: what comes before the first tree is then known without asking XGBoost.
    for tree in reversed(range(len(values))):
        margin[:, outputs[tree]] -= values[tree][leaves[:, tree]]
        errors.append(error())
    errors.append(float(np.abs(z - z.mean()).mean()) if model.trend.columns else errors[-1])
    return np.maximum(np.diff(errors), 0)[::-1].copy(), leaves


class FeatureDistance:
    """exp(-d) of the distance d between standardised features: likeness falls off exponentially (Shepard 1987).

    d is the root of the mean squared difference, in standard deviations of the known rows. A feature that only one of
    two rows has counts as for two rows drawn at random, 2 when squared; one that both lack counts nothing.
    """

    def __init__(self, X: Floats) -> None:
        """Compare with the known rows X, shape (n, f)."""
        values = X.astype(np.float64)
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        self._centre = np.where(known, values, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, values - self._centre, 0) ** 2).sum(axis=0) / count)
        self._spread = np.where(spread > 0, spread, 1)
        self._rows = self._standardised(X)

    def _standardised(self, X: Floats) -> Array:
        return np.asarray((X.astype(np.float64) - self._centre) / self._spread)

    def __call__(self, x: Floats, limit: int) -> Best:
        row = self._standardised(x)
        unknown = np.isnan(self._rows), np.isnan(row)
        squares = np.where(unknown[0] | unknown[1], 2.0, (self._rows - row) ** 2)
        squares[unknown[0] & unknown[1]] = 0
        alike = np.exp(-np.sqrt(squares.mean(axis=1)))
        return _best(np.arange(len(alike)), alike, limit)


def similarity_to(model: Model, X: Floats, z: Array) -> Similarity:
    """Choose the measure for a model, and prepare it for known rows X, shape (n, f), with targets z, shape (n,)."""
    if isinstance(model, BoostedTrees):
        try:
            return LeafAgreement(model, X, z)
        except BundleError as error:
            logger.info("rows are compared by their features: %s", error)
    return FeatureDistance(X)
