"""From raw rows to prices: the one path of files, batches and requests."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.core import bundle, scale
from src.core.config import DatasetConfig, parse_config
from src.core.errors import BundleError, DataError, InvalidRowsError
from src.core.plain_pickle import load_plain
from src.feature_pipeline.feature_engineering import encode, flag
from src.feature_pipeline.load import typed
from src.feature_pipeline.preprocess import clean
from src.feature_pipeline.rows import Row, RowEncoder
from src.feature_pipeline.transforms import Tables, require_columns
from src.inference_pipeline.boosted import BoostedTrees
from src.inference_pipeline.comparables import Comparable, Comparables
from src.inference_pipeline.contributions import to_target_unit
from src.inference_pipeline.models import Model, load_model

logger = logging.getLogger(__name__)

# Below this many rows plain Python beats building a frame: HouseTS's recipe takes 20 µs a row there, and 40 ms a frame.
FEW_ROWS = 800
# Golden answers are stored as decimal text and must come back to this relative precision on any machine.
GOLDEN_TOLERANCE = 1e-6

Array = NDArray[np.float64]
Rows = pl.DataFrame | Sequence[Row]


@dataclass(frozen=True)
class Prediction:
    """Prices of n rows, in their order and in the target's unit.

    `estimate`: shape (n,). `lower`, `upper`: nominal level (for example 0.8) -> shape (n,).
    `flags`: for each row what is unusual about it, joined by `;`, for example `unknown_zipcode`.
    """

    estimate: Array
    lower: dict[float, Array]
    upper: dict[float, Array]
    flags: list[str]

    def part(self, start: int, stop: int) -> "Prediction":
        """Return what was said of some of the rows."""
        lower = {level: ends[start:stop] for level, ends in self.lower.items()}
        upper = {level: ends[start:stop] for level, ends in self.upper.items()}
        return Prediction(self.estimate[start:stop], lower, upper, self.flags[start:stop])

    def frame(self, target: str) -> pl.DataFrame:
        """Return the columns that a predictions file adds, for example `predicted_price`, `lower_80`, ..., `flags`."""
        bounds = {
            f"{side}_{level * 100:g}": values[level]
            for level in self.lower
            for side, values in (("lower", self.lower), ("upper", self.upper))
        }
        return pl.DataFrame(
            {f"predicted_{target}": self.estimate, **bounds, "flags": pl.Series(self.flags, dtype=pl.String)}
        )


@dataclass(frozen=True)
class Classification:
    """Classes of n rows, in their order: `probabilities`, shape (n, k), of `classes`; `flags` as in `Prediction`."""

    classes: tuple[str, ...]
    probabilities: Array
    flags: list[str]

    @property
    def estimate(self) -> Array:
        """The probabilities, shape (n, k): what a class model answers, as a price model answers prices."""
        return self.probabilities

    @property
    def labels(self) -> list[str]:
        """The most probable class of each row; of equal ones the first."""
        return [self.classes[i] for i in self.probabilities.argmax(axis=1)] if len(self.probabilities) else []

    def part(self, start: int, stop: int) -> "Classification":
        """Return what was said of some of the rows."""
        return Classification(self.classes, self.probabilities[start:stop], self.flags[start:stop])

    def frame(self, target: str) -> pl.DataFrame:
        """Return what a predictions file adds, for example `predicted_species`, `probability_setosa`, ..., `flags`."""
        columns = {f"probability_{name}": self.probabilities[:, i] for i, name in enumerate(self.classes)}
        labels = pl.Series(self.labels, dtype=pl.String)
        return pl.DataFrame({f"predicted_{target}": labels, **columns, "flags": pl.Series(self.flags, dtype=pl.String)})


def answer(config: DatasetConfig, estimate: Array, flags: list[str]) -> Prediction | Classification:
    """Wrap estimates, shape (n,), or probabilities, shape (n, k), as the config's task answers, without intervals."""
    if config.task == "classification":
        return Classification(config.target.classes, estimate, flags)
    return Prediction(estimate, {}, {}, flags)


@dataclass(frozen=True)
class Explanation:
    """Why each answer is what it is: `base` shape (n,), `amounts` shape (n, f), in `unit`; base + sum = answer.

    For classes the answer is the probability of each row's most probable one.
    """

    features: tuple[str, ...]
    base: Array
    amounts: Array
    unit: str

    def top(self, row: int, count: int = 5) -> list[tuple[str, float]]:
        """Return one row's largest contributions by size."""
        order = np.argsort(-np.abs(self.amounts[row]), kind="stable")[:count]
        return [(self.features[i], float(self.amounts[row, i])) for i in order]


class Predictor:
    """A model version in memory. Immutable once made, so threads share one."""

    def __init__(
        self,
        config: DatasetConfig,
        tables: Tables,
        model: Model,
        intervals: Mapping[float, tuple[float, float]],
        version: str,
        probe: Sequence[Row] = (),
        reference: bytes | None = None,
        margins: NDArray[np.float32] | None = None,
    ) -> None:
        """Put a model together.

        Args:
            config: the dataset.
            tables: what `feature_engineering` fitted.
            model: of any family, on the scale of `config.target.transform`.
            intervals: nominal level -> offsets of the lower and upper bound on the model's scale.
            version: the model version's name.
            probe: raw rows on which the fast evaluator must agree with XGBoost; without, random features are used.
            reference: the bundle's `reference.parquet`, for comparables.
            margins: what XGBoost says of the probe's rows; it is imported and asked where they are not given.
        """
        self.config = config
        self.version = version
        self._tables = tables
        self._intervals = tuple(intervals)
        self._offsets = np.array([0.0, *(end for ends in intervals.values() for end in ends)])[:, None]
        self._rows = RowEncoder(config, tables)
        self._model = model.compiled(self._probe(probe), margins) if isinstance(model, BoostedTrees) else model
        self.evaluator = self._model.evaluator
        self._comparables = Comparables(reference, config, tables, self._model) if reference else None

    def _probe(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        if rows:
            return self._rows.encode(list(rows))[0]
        random = np.random.default_rng(0).normal(size=(64, len(self.config.feature_names)))
        return (random * np.exp(random * 4)).astype(np.float32)

    @classmethod
    def load(cls, folder: Path, public_key: str | None = None) -> "Predictor":
        """Verify a bundle, load it, and make it reproduce its golden answers.

        Raises:
            BundleError: a file is altered, the signature or a package version is wrong, or an answer differs.
        """
        manifest = bundle.verify(folder, public_key=public_key)
        config = parse_config((folder / "config.yaml").read_text(encoding="utf-8"), f"{folder}/config.yaml")
        encoders = load_plain(folder / "encoders.pkl")
        intervals = {float(level): (low, high) for level, (low, high) in encoders["intervals"].items()}
        golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
        model = load_model(folder, config, encoders)
        # Read now, as the folder may be gone when somebody asks; parsed and prepared then.
        reference = (folder / "reference.parquet").read_bytes()
        margins = np.array(golden["margins"], np.float32) if golden.get("margins") else None
        rows = golden["rows"]
        made = cls(config, encoders["tables"], model, intervals, manifest.version, rows, reference, margins)
        made.check_golden(golden)
        return made

    def check_golden(self, golden: Mapping[str, Any]) -> None:
        """Reproduce the golden answers one by one and as a batch (BundleError names the first that differs)."""
        rows, wanted = golden["rows"], np.array(golden["predictions"], dtype=np.float64)
        for answers in (self.predict(rows).estimate, self.predict(self.to_frame(rows)).estimate):
            wrong = ~np.isclose(answers, wanted, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE * self._is_classifier)
            if wrong.any():
                first = int(np.argmax(wrong.reshape(len(rows), -1).any(axis=1)))
                said, asked = (np.array2string(a[first], precision=4) for a in (answers, wanted))
                raise BundleError(
                    f"version {self.version} does not reproduce its golden row {first}: {said} instead of {asked}",
                    brief="the version does not give the answers that it was published with",
                )

    @property
    def _is_classifier(self) -> bool:
        return self.config.task == "classification"

    @cached_property
    def features(self) -> tuple[str, ...]:
        return self.config.feature_names

    @cached_property
    def coordinates(self) -> dict[str, list[float]]:
        """Latitude and longitude of the regions, where the config looks them up."""
        lookup = self.config.lookup
        if lookup is None or lookup.by != self.config.region or not {"lat", "lng"} <= {*lookup.add}:
            return {}
        at = [lookup.add.index(name) for name in ("lat", "lng")]
        table = self._tables["lookup"]["table"]
        found = {name: [added[i] for i in at] for name, added in table.items()}
        return {name: point for name, point in found.items() if None not in point}

    def predict(self, rows: Rows, threads: int = 1) -> Prediction | Classification:
        """Price or classify raw rows: n in, n out, same order, input untouched.

        Args:
            rows: a frame, or mappings from column to value; columns that the model does not use are ignored.
            threads: of the tree evaluation. Small requests use one: waking a second costs more than it saves.

        Raises:
            InvalidRowsError: a value is missing, mistyped or infinite; names row, field and what is wrong.
            DataError: a column is missing from the frame, or cannot be read as its type.
        """
        X, flags = self.encode(rows)
        said = self._model(X, threads)
        if self._is_classifier:
            return Classification(self.config.target.classes, said, flags)
        # One pass for the estimate and all ends of intervals: of a single row each pass would cost as much.
        values = scale.in_unit(said + self._offsets, self.config)
        lower = dict(zip(self._intervals, values[1::2], strict=True))
        upper = dict(zip(self._intervals, values[2::2], strict=True))
        return Prediction(values[0], lower, upper, flags)

    def explain(self, rows: Rows) -> Explanation:
        """Attribute each answer to the features, prices in the target's unit (see `contributions`)."""
        X, _ = self.encode(rows)
        said = self._model(X)
        if self._is_classifier:
            chosen = said.argmax(axis=1) if len(X) else np.empty(0, np.intp)
            amounts = self._model.contributions(X, chosen)
            base = said[np.arange(len(X)), chosen] - amounts.sum(axis=1)
            return Explanation(self.features, base, amounts, "probability")
        transform = self.config.target.transform
        estimate = scale.inverse(transform, said)
        least = scale.least_estimate(self.config)
        base, amounts = to_target_unit(self._model.contributions(X), estimate, transform, least)
        return Explanation(self.features, base, amounts, self.config.target.unit)

    def comparables(self, row: Row, limit: int = 5) -> list[Comparable]:
        """Return the known rows that are most like a raw row, best first (see `similarity`).

        The first question prepares them, which takes seconds for thousands of trees.

        Raises:
            InvalidRowsError: as `predict`.
            DataError: the model was not loaded from a bundle, and knows no rows.
        """
        if self._comparables is None:
            raise DataError("this model knows no rows to compare with: load it from a bundle")
        return self._comparables.of(self.encode([row])[0], limit)

    def encode(self, rows: Rows) -> tuple[NDArray[np.float32], list[str]]:
        """Return the features, float32 of shape (n, f), and each row's flags; raises as `predict`."""
        if isinstance(rows, pl.DataFrame):
            return self._encode_frame(rows)
        if len(rows) > FEW_ROWS:
            try:
                return self._encode_frame(self.to_frame(rows))
            except (DataError, pl.exceptions.PolarsError, TypeError, KeyError, ValueError, OverflowError):
                logger.debug("reading %d rows one by one, to name every problem", len(rows))
        return self._rows.encode(list(rows))

    def to_frame(self, rows: Sequence[Row]) -> pl.DataFrame:
        """Make a frame of mappings, strictly: a mistyped value or missing field raises."""
        columns = {name: [row[name] for row in rows] for name in self.config.raw_inputs}
        kinds = {"number": pl.Float64, "text": pl.String, "date": None}
        return pl.DataFrame(
            [pl.Series(name, values, dtype=kinds[self.config.columns[name].type]) for name, values in columns.items()]
        )

    def _encode_frame(self, frame: pl.DataFrame) -> tuple[NDArray[np.float32], list[str]]:
        wanted = self.config.raw_inputs
        require_columns(frame.columns, list(wanted), "the input")
        rows = typed(frame.lazy().select(wanted), self.config, "the input")
        self._check_required(rows)
        ready = clean(rows.lazy(), self.config, self._tables)
        encoded = encode(ready, self.config, self._tables)
        flags = flag(ready, self.config, self._tables)
        X, flagged = pl.collect_all([encoded, flags])
        return X.to_numpy(order="c"), flagged.to_series().to_list()

    def _check_required(self, frame: pl.DataFrame) -> None:
        problems = [
            (row, name, "is required and has no value")
            for name in frame.columns
            if self.config.columns[name].required and frame[name].null_count()
            for row in frame[name].is_null().arg_true()
        ]
        if problems:
            raise InvalidRowsError(sorted(problems))
