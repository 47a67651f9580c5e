"""`DatasetConfig`: everything that changes a model, one YAML."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from src.core import metrics
from src.core.errors import ConfigError
from src.core.monitoring_sections import Monitoring, Retraining
from src.core.recipes import Fitted, Frequency, Numbers, Recipe, TargetMean
from src.core.sections import (
    BASELINES,
    FAMILIES,
    JUDGED,
    Choice,
    Column,
    Compare,
    Expectation,
    Family,
    FloatRange,
    Gate,
    IntRange,
    Lookup,
    Missing,
    Model,
    RandomSplit,
    RowRules,
    Section,
    Segment,
    Source,
    Split,
    Target,
    Tuning,
    short_column,
)
from src.core.settings import Settings
from src.core.strict_yaml import StrictLoader
from src.core.text_recipes import Listed

__all__ = [
    "CONFIGS",
    "PROJECT",
    "Choice",
    "Column",
    "DatasetConfig",
    "Expectation",
    "FloatRange",
    "Gate",
    "IntRange",
    "Model",
    "Monitoring",
    "Retraining",
    "Segment",
    "Settings",
    "load_config",
    "parse_config",
]

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT / "configs"


class DatasetConfig(Section):
    """One `configs/<dataset>.yaml`: frozen, complete, and copied into every bundle."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    source: Source
    columns: dict[str, Annotated[Column, BeforeValidator(short_column)]]
    target: Target
    task: Literal["regression", "classification"] = "regression"
    keys: tuple[str, ...] = Field((), description="columns that tell rows apart")
    place: str | None = Field(None, description="column that names the place whose last known price is a baseline")
    region: str | None = Field(None, description="column that groups places, for reports and filters")
    split: Split
    missing: tuple[Missing, ...] = ()
    lookup: Lookup | None = None
    rows: RowRules = RowRules()
    leakage: tuple[str, ...] = Field((), description="columns that must never become a feature")
    features: tuple[Recipe, ...] = Field(min_length=1)
    model: Model = Model()
    families: dict[str, Family] = Field(default_factory=dict, description="alternatives, for --family and compare")
    compare: Compare = Compare()
    tuning: Tuning = Tuning()
    intervals: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.8, 0.95)
    gate: Gate = Gate()
    segments: tuple[Segment, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    # Where the YAML stands, unless it is one of the project's. No part of the model: in no dump, digest or bundle.
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _names_exist(self) -> "DatasetConfig":
        known = set(self.columns) | set(self.lookup.add if self.lookup else ())
        wanted = [("target", self.target.column)]
        wanted += [("split.column", self.date)] if self.date else []
        wanted += [("keys", key) for key in self.keys]
        wanted += [(f"missing[{i}]", c) for i, m in enumerate(self.missing) for c in m.columns]
        wanted += [(f"features[{i}]", c) for i, recipe in enumerate(self.features) for c in recipe.inputs]
        wanted += [("rows", c) for c in (*self.rows.max, *self.rows.min)]
        wanted += [("place", c) for c in (self.place, self.region) if c]
        wanted += [("segments", s.column) for s in self.segments if s.column]
        wanted += [("leakage", c) for c in self.leakage]
        wanted += [("lookup.by", self.lookup.by)] if self.lookup else []
        wanted += [("source.rename", c) for c in self.source.rename.values()]
        for where, column in wanted:
            if column not in known:
                raise ValueError(f"{where}: {column!r} is not among the columns ({', '.join(sorted(known))})")
        return self

    @model_validator(mode="after")
    def _split_is_possible(self) -> "DatasetConfig":
        for column in self.drawn_by:
            if column not in self.columns:
                raise ValueError(f"split: {column!r} is not among the columns ({', '.join(sorted(self.columns))})")
        if isinstance(self.split, RandomSplit) and self.tuning.folds < 2:
            raise ValueError("tuning.folds: 1 is too few where the split is random; at least 2 are needed")
        if self.date is None:
            dated = [f"segments[{i}] (by month)" for i, s in enumerate(self.segments) if s.by == "month"]
            dated += ["gate.beats (last_known)"] if "last_known" in self.gate.beats else []
            if dated:
                raise ValueError(f"{dated[0]} needs a date, and there is none: name a date column as split.column")
        if "place_median" in self.gate.beats and not (self.place and isinstance(self.split, RandomSplit)):
            raise ValueError("gate.beats (place_median) needs a place, and a split that is random")
        return self

    @model_validator(mode="after")
    def _gate_is_known(self) -> "DatasetConfig":
        held = {f"coverage_{100 * level:g}" for level in self.levels}
        measured = (
            held | {*metrics.LABELS_OF[self.task]} | ({*metrics.RATIO_RANGES} if self.task == "regression" else set())
        )
        for side, limits in (("max", self.gate.max), ("min", self.gate.min)):
            for split, named in limits.items():
                if split not in JUDGED:
                    raise ValueError(f"gate.{side}: {split!r} is not one of {', '.join(JUDGED)}")
                for name in named:
                    if name not in measured:
                        raise ValueError(f"gate.{side}.{split}: {name!r} is not one of {', '.join(sorted(measured))}")
        for name in self.gate.beats:
            if name not in BASELINES[self.task]:
                raise ValueError(f"gate.beats: {name!r} is not one of {', '.join(BASELINES[self.task])}")
        return self

    @model_validator(mode="after")
    def _types_fit(self) -> "DatasetConfig":
        numbers: list[tuple[str, str]] = []
        texts = [("lookup.by", self.lookup.by)] if self.lookup else []
        (numbers if self.task == "regression" else texts).append(("target", self.target.column))
        dates = [("split.column", self.date)] if self.date else []
        for i, recipe in enumerate(self.features):
            listed = {"number": numbers, "text": texts, "date": dates}[recipe.takes]
            listed += [(f"features[{i}]", c) for c in recipe.inputs]
        numbers += [("rows", c) for c in (*self.rows.max, *self.rows.min)]
        numbers += [(f"missing[{i}]", c) for i, m in enumerate(self.missing) for c in m.columns]
        for asked, pairs in (("number", numbers), ("text", texts), ("date", dates)):
            for where, column in pairs:
                # What a lookup adds is a number.
                kind = self.columns[column].type if column in self.columns else "number"
                if kind != asked:
                    raise ValueError(f"{where}: {column!r} is a {kind} column, and a {asked} column is needed there")
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> "DatasetConfig":
        allowed = FAMILIES[self.task]
        families = {"model.family": self.model.family}
        families |= {f"families.{name}": entry.family or name for name, entry in self.families.items()}
        for where, family in families.items():
            if family not in allowed:
                raise ValueError(f"{where}: {family!r} is not a family for {self.task} ({', '.join(allowed)})")
        if self.tuning.metric not in metrics.LABELS_OF[self.task]:
            raise ValueError(f"tuning.metric: {self.tuning.metric!r} does not judge a {self.task}")
        if self.model.trend and self.model.family != "xgboost":
            raise ValueError("model.trend lies under the trees of xgboost only")
        if self.task == "regression":
            return self
        if len(set(self.target.classes)) < 2 or len(set(self.target.classes)) < len(self.target.classes):
            raise ValueError("target.classes: list every class once, at least two")
        if self.target.transform != "none" or self.model.trend:
            raise ValueError("target.transform and model.trend are for regression, and task is classification")
        means = [recipe.name for recipe in self.features if isinstance(recipe, TargetMean)]
        if means:
            raise ValueError(f"features: target_mean {means[0]!r} needs a number as target")
        return self

    @model_validator(mode="after")
    def _values_are_listed_once(self) -> "DatasetConfig":
        for recipe in self.features:
            if isinstance(recipe, Listed):
                for name in recipe.inputs:
                    recipe.codes(self.columns[name])
        return self

    @model_validator(mode="after")
    def _features_are_lawful(self) -> "DatasetConfig":
        banned = {self.target.column, *self.leakage}
        for recipe in self.features:
            for column in recipe.inputs:
                if column in banned:
                    raise ValueError(f"features: {recipe.recipe} uses {column!r}, which is the target or leaks it")
        names = self.feature_names
        twice = sorted({n for n in names if names.count(n) > 1} | (set(names) & set(self.meta_columns)))
        for name in self.model.trend.columns if self.model.trend else ():
            if name not in names:
                raise ValueError(f"model.trend.columns: {name!r} is not a feature ({', '.join(names)})")
        if twice:
            raise ValueError(
                f"features: name {twice[0]!r} is taken (features, keys, target, split and segments share a frame)"
            )
        return self

    @property
    def argument(self) -> str:
        """What `--dataset` takes for this config: its name, or the path of a YAML that is none of the project's."""
        return str(self._file) if self._file else self.name

    @property
    def lookup_file(self) -> Path | None:
        """The lookup's table, which stands beside the YAML."""
        folder = self._file.parent if self._file else CONFIGS
        return folder / self.lookup.table if self.lookup else None

    @property
    def date(self) -> str | None:
        """The column that dates a row; None where rows have no date."""
        return self.split.column

    @property
    def drawn_by(self) -> tuple[str, ...]:
        """Columns that decide, beside chance, into which split a row is drawn; none in a time split."""
        return self.split.drawn_by if isinstance(self.split, RandomSplit) else ()

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Features in the order of the model's matrix."""
        return tuple(name for recipe in self.features for name in recipe.names)

    @cached_property
    def trend_columns(self) -> tuple[int, ...]:
        """Positions of the trend's features in the model's matrix."""
        return tuple(self.feature_names.index(name) for name in (self.model.trend.columns if self.model.trend else ()))

    @cached_property
    def fitted(self) -> tuple[Fitted, ...]:
        """Recipes that learn a table from training rows."""
        return tuple(recipe for recipe in self.features if isinstance(recipe, Frequency | TargetMean))

    @cached_property
    def meta_columns(self) -> tuple[str, ...]:
        """Columns kept beside the features: keys, date, place, region, split, segments, target; none twice."""
        wanted = [*self.keys, self.date, self.place, self.region, *self.drawn_by]
        wanted += [s.column for s in self.segments] + [self.target.column]
        return tuple(dict.fromkeys(c for c in wanted if c))

    @cached_property
    def raw_inputs(self) -> tuple[str, ...]:
        """Columns that a row must bring to be priced, in the order of the file."""
        used = {c for recipe in self.features for c in recipe.inputs}
        if self.lookup:
            used = (used - set(self.lookup.add)) | {self.lookup.by}
        return tuple(c for c in self.columns if c in used or (c in self.keys and c != self.target.column))

    @property
    def missing_codes(self) -> dict[str, float]:
        """Column -> the number that the file writes where it means `missing`, of the columns that have one."""
        return {column: rule.code for rule in self.missing for column in rule.columns}

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Nominal levels of the intervals; none for classes, which have probabilities."""
        return self.intervals if self.task == "regression" else ()

    def variant(self, name: str | None) -> "DatasetConfig":
        """Return the config with the model of another family: an entry of `families`, or a family with its defaults.

        None, or the name of the model's own family when `families` has none of that name, is the config itself.

        Raises:
            ConfigError: no such family, or the entry does not fit the config.
        """
        if name is None or (name == self.model.family and name not in self.families):
            return self
        entry = self.families.get(name, Family())
        content = self.model_dump(mode="json", exclude_unset=True)
        kept = self.model.model_dump(mode="json", exclude={"family", "variant", "params", "trend"})
        content["model"] = {**kept, "family": entry.family or name, "variant": name, "params": entry.params}
        content["tuning"] = self.tuning.model_dump(mode="json")
        content["tuning"]["space"] = {key: value.model_dump() for key, value in entry.space.items()}
        seen = _only(self.features, entry.features) if entry.features else list(self.features)
        if entry.transform and entry.transform != self.target.transform:
            means = [recipe.name for recipe in seen if isinstance(recipe, TargetMean)]
            if means:
                raise ConfigError(
                    f"families.{name}: transform {entry.transform!r} does not go with feature {means[0]!r}, which is a "
                    f"mean on the scale {self.target.transform!r}: leave transform out, or list features without it"
                )
            content["target"]["transform"] = entry.transform
        if entry.features:
            content["features"] = [recipe.model_dump(mode="json") for recipe in seen]
        try:
            made = DatasetConfig.model_validate(content)
        except ValidationError as error:
            raise ConfigError("\n".join(_explain(f"families.{name}", p) for p in error.errors())) from error
        made._file = self._file
        return made

    @property
    def digest(self) -> str:
        """SHA-256 of the config's content, comments and order apart."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _only(recipes: tuple[Recipe, ...], names: tuple[str, ...]) -> list[Recipe]:
    """Keep the recipes that make the named features, and of `numbers` only the named columns."""
    unknown = [name for name in names if not any(name in recipe.names for recipe in recipes)]
    if unknown:
        raise ConfigError(f"features: {unknown[0]!r} is not a feature of the config")
    kept: list[Recipe] = []
    for recipe in recipes:
        here = tuple(name for name in recipe.names if name in names)
        if isinstance(recipe, Numbers) and here:
            kept.append(recipe.model_copy(update={"columns": here}))
        elif here:
            if here != recipe.names:
                raise ConfigError(f"features: recipe {recipe.recipe} makes {', '.join(recipe.names)}: name all or none")
            kept.append(recipe)
    return kept


def load_config(dataset: str, folder: Path | None = None) -> DatasetConfig:
    """Read one dataset's YAML.

    Args:
        dataset: a name (`configs/<name>.yaml`) or the path of a YAML file.
        folder: where named configs are; the project's `configs` by default.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that is not allowed.
    """
    folder = folder or CONFIGS
    path = Path(dataset) if dataset.endswith((".yaml", ".yml")) else folder / f"{dataset}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"no dataset {dataset!r}: {path} does not exist. Datasets: {there}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    config = parse_config(text, str(path))
    config._file = None if path.parent == CONFIGS else path
    return config


def parse_config(text: str, where: str) -> DatasetConfig:
    """Validate YAML text; `where` names it in errors (ConfigError)."""
    try:
        raw = yaml.load(text, StrictLoader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} must hold a mapping of settings, not {type(raw).__name__}")
    try:
        return DatasetConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(where, problem) for problem in error.errors())) from error


def _explain(where: str, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(the whole file)"
    value = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r})"
    return f"{where}: {key}: {problem['msg']}{value}"
