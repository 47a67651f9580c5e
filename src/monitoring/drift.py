"""Drift of a month against a version's reference rows, by Evidently. Only this module knows Evidently."""

import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from src.core.errors import ConfigError

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

# Distances, not p-values: a test of ten thousand rows finds a difference in everything.
NUMBERS, CATEGORIES = "wasserstein", "jensenshannon"
# Of so few values, one is a category: a rare yes has a tiny standard deviation, by which Wasserstein's is divided.
FEW_VALUES = 2


@dataclass(frozen=True)
class Column:
    """How far one column is from its reference; `distance` is None where the month has no value of it at all."""

    name: str
    kind: str  # number or category
    distance: float | None
    drifted: bool
    rows: int  # with a value, in the month


@dataclass(frozen=True)
class Drift:
    """Every compared column, the farthest first, and what Evidently wrote."""

    columns: tuple[Column, ...]
    page: bytes
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the columns that drifted."""
        return sum(one.drifted for one in self.columns) / len(self.columns)


def require() -> None:
    """Refuse to start without what the reports are made with (ConfigError)."""
    for package in ("evidently", "great_expectations"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"reports need the package {package}: `uv sync --group training` installs it")


def measure(current: pl.DataFrame, reference: pl.DataFrame, threshold: float) -> Drift | None:
    """Compare the columns that both frames have; None where no column can be compared.

    Numbers by Wasserstein's distance in standard deviations of the reference, texts and columns of at most two values
    by Jensen-Shannon's (0 to 0.83). A column without a value in the reference is left out; one without a value in the
    month has drifted. The frames need not have the same rows beside each other.

    Args:
        current: the month.
        reference: the rows to compare with.
        threshold: distance from which a column has drifted.
    """
    shared = [name for name in current.columns if name in reference.columns and reference[name].count()]
    empty = [name for name in shared if not current[name].count()]
    kinds = {name: _kind(reference[name]) for name in shared}
    ready = {name: kind for name, kind in kinds.items() if name not in empty}
    distances: dict[str, float] = {}
    page, content = b"", dict[str, Any]()
    if ready:
        page, content = _by_evidently(current, reference, ready, threshold)
        distances = {
            one["config"]["column"]: float(one["value"])
            for one in content["metrics"]
            if one["config"]["type"].endswith("ValueDrift")
        }
    columns = [
        Column(name, kind, distances.get(name), name in empty or distances[name] >= threshold, current[name].count())
        for name, kind in kinds.items()
    ]
    columns.sort(key=lambda one: -1e9 if one.distance is None else -one.distance)
    return Drift(tuple(columns), page, content) if columns else None


def performance(rows: pl.DataFrame, actual: str, predicted: str, is_classes: bool = False) -> bytes | None:
    """Draw Evidently's page on rows whose actual is known, of prices or of classes; None without any.

    Args:
        rows: predictions.
        actual: column of what came true.
        predicted: column of the estimates.
        is_classes: whether they are labels.
    """
    known = rows.select(actual, predicted).drop_nulls()
    if known.height < FEW_VALUES:
        return None
    with _quiet():
        from evidently import (
            DataDefinition,
            Dataset,
            MulticlassClassification,
            Regression,
            Report,
        )
        from evidently.presets import ClassificationPreset, RegressionPreset

        if not is_classes:
            definition = DataDefinition(
                numerical_columns=[actual, predicted], regression=[Regression(target=actual, prediction=predicted)]
            )
            preset: Any = RegressionPreset()
        else:
            definition = DataDefinition(
                categorical_columns=[actual, predicted],
                classification=[MulticlassClassification(target=actual, prediction_labels=predicted)],
            )
            preset = ClassificationPreset()
        dataset = Dataset.from_pandas(known.to_pandas(), data_definition=definition)
        return _page(Report([preset]).run(dataset, None))


def _kind(values: pl.Series) -> str:
    return "category" if not values.dtype.is_numeric() or values.drop_nulls().n_unique() <= FEW_VALUES else "number"


def _by_evidently(
    current: pl.DataFrame, reference: pl.DataFrame, kinds: Mapping[str, str], threshold: float
) -> tuple[bytes, dict[str, Any]]:
    wanted = [
        pl.col(name).cast(pl.Float64 if kind == "number" else pl.String).alias(name) for name, kind in kinds.items()
    ]
    with _quiet():
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import DriftedColumnsCount, ValueDrift

        definition = DataDefinition(
            numerical_columns=[name for name, kind in kinds.items() if kind == "number"],
            categorical_columns=[name for name, kind in kinds.items() if kind == "category"],
        )
        # What its preset for drift measures, without the preset's table, which takes two thirds of the time.
        methods = {"number": NUMBERS, "category": CATEGORIES}
        counted = DriftedColumnsCount(
            columns=list(kinds),
            num_method=NUMBERS,
            cat_method=CATEGORIES,
            num_threshold=threshold,
            cat_threshold=threshold,
        )
        each = [ValueDrift(column=name, method=methods[kind], threshold=threshold) for name, kind in kinds.items()]
        month, known = (
            Dataset.from_pandas(frame.select(wanted).to_pandas(), data_definition=definition)
            for frame in (current, reference)
        )
        snapshot = Report([counted, *each]).run(month, known)
        return _page(snapshot), snapshot.dict()


def _page(snapshot: "Snapshot") -> bytes:
    with tempfile.TemporaryDirectory(prefix="housecast-") as folder:
        path = Path(folder) / "page.html"
        snapshot.save_html(str(path))
        return path.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Evidently from telling its makers of each run, and its libraries' warnings from people who cannot act."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
