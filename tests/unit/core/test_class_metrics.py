"""The metrics of classification beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

from src.core import class_metrics
from src.core.errors import DataError


@pytest.mark.parametrize(("n", "k", "seed"), [(1, 2, 0), (50, 3, 1), (400, 6, 2)])
def test_scores_are_those_of_scikit_learn(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, k, n), rng.dirichlet(np.ones(k), n)
    said, found = p.argmax(axis=1), class_metrics.scores(y, p)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, said))
    assert found["f1"] == pytest.approx(f1_score(y, said, average="weighted", zero_division=0))
    assert found["log_loss"] == pytest.approx(log_loss(y, p, labels=range(k)))
    assert class_metrics.confusion(y, p).tolist() == confusion_matrix(y, said, labels=range(k)).tolist()


def test_a_certain_mistake_costs_much_and_is_not_infinite() -> None:
    assert class_metrics.scores([0], [[0.0, 1.0]])["log_loss"] == pytest.approx(-np.log(np.finfo(np.float64).eps))


@pytest.mark.parametrize(
    ("y", "p", "said"),
    [
        ([], np.empty((0, 2)), "at least one row"),
        ([0, 1], [[1.0, 0.0]], "not shapes"),
        ([2], [[1.0, 0.0]], "not of 0 to 1: row 0"),
        ([np.nan], [[1.0, 0.0]], "not of 0 to 1"),
        ([0], [[np.nan, 1.0]], "not finite"),
    ],
)
def test_what_cannot_be_judged_is_refused(y: object, p: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        class_metrics.scores(y, p)  # type: ignore[arg-type]
