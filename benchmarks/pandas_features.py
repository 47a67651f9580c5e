"""The feature pipeline once more, in pandas: the yardstick of `benchmarks.features`. It shares the config."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from src.core.config import PROJECT, DatasetConfig, load_config
from src.core.files import sha256
from src.core.recipes import LARGEST, DateParts, Frequency, Numbers, Ratio, TargetMean
from src.core.spelling import tidy
from src.core.workspace import SPLITS
from src.feature_pipeline.rows import Row
from src.feature_pipeline.transforms import Tables

Splits = dict[str, pd.DataFrame]


def in_memory(source: Path, folder: Path, *, everything: bool) -> None:
    """Go from the CSV to Parquet features in one go; with `everything` leave what the stages leave on the way."""
    config = load_config("housets")
    raw = split(read(source, config), config)
    cleaned = clean(raw, config)
    if everything:
        sha256(source)
        write_parquet(raw, folder / "raw")
        write_parquet(cleaned, folder / "processed")
    write_parquet(encode(cleaned, config), folder / "features")


def write_parquet(splits: Splits, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in splits.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)


def through_csv(source: Path, folder: Path) -> None:
    """Go from the CSV to CSV features in three stages that hand CSV files to each other."""
    config = load_config("housets")
    write_csv(split(read(source, config), config), folder / "raw")
    write_csv(clean(read_csv(folder / "raw", config), config), folder / "processed")
    write_csv(encode(read_csv(folder / "processed", config), config), folder / "features")


def write_csv(splits: Splits, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in splits.items():
        frame.to_csv(folder / f"{name}.csv", index=False)


def read_csv(folder: Path, config: DatasetConfig) -> Splits:
    return {name: pd.read_csv(folder / f"{name}.csv", dtype=_texts(config), parse_dates=["date"]) for name in SPLITS}


def _texts(config: DatasetConfig) -> Mapping[Hashable, type[str]]:
    return {name: str for name, column in config.columns.items() if column.type == "text"}


def read(source: Path, config: DatasetConfig) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(source, dtype=_texts(config), parse_dates=["date"])
    frame["zipcode"] = frame["zipcode"].str.zfill(5)
    for rule in config.missing:
        columns = list(rule.columns)
        frame[columns] = frame[columns].replace(rule.code, np.nan)
    return frame


def split(frame: pd.DataFrame, config: DatasetConfig) -> Splits:
    first, second = pd.Timestamp(config.split.eval_from), pd.Timestamp(config.split.holdout_from)
    date = frame["date"]
    return {
        "train": frame[date < first],
        "eval": frame[(date >= first) & (date < second)],
        "holdout": frame[date >= second],
    }


def clean(splits: Splits, config: DatasetConfig) -> Splits:
    column = config.columns["city_full"]
    metros = pd.read_csv(PROJECT / "configs" / "metros.csv")
    metros["city_full"] = [tidy(name, column) for name in metros["city_full"]]
    cleaned = {}
    for name, frame in splits.items():
        names = {spelled: tidy(spelled, column) for spelled in frame["city_full"].unique()}
        cleaned[name] = frame.assign(city_full=frame["city_full"].map(names)).merge(metros, on="city_full", how="left")
    train = cleaned["train"].drop_duplicates()
    for limited, limit in config.rows.max.items():
        train = train[~(train[limited] > limit)]
    return cleaned | {"train": train.reset_index(drop=True)}


def serving(config: DatasetConfig, tables: Tables) -> Callable[[Sequence[Row]], pd.DataFrame]:
    """Return the function that makes the features of a request's raw rows, from what training fitted."""
    assert config.lookup
    column = config.columns["city_full"]
    metros = pd.DataFrame.from_dict(tables["lookup"]["table"], orient="index", columns=list(config.lookup.add))
    fitted = {r.name: (pd.Series(tables[r.name]["table"]), tables[r.name]["default"]) for r in config.fitted}
    # A request need not bring what the model does not use.
    coded = [([name for name in rule.columns if name in config.raw_inputs], rule.code) for rule in config.missing]

    def features(rows: Sequence[Row]) -> pd.DataFrame:
        frame = pd.DataFrame(rows)
        frame["date"] = pd.to_datetime(frame["date"])
        frame["zipcode"] = frame["zipcode"].astype(str).str.zfill(5)
        frame["city_full"] = [tidy(name, column) for name in frame["city_full"]]
        for columns, code in coded:
            frame[columns] = frame[columns].astype(np.float64).replace(code, np.nan)
        frame = frame.join(metros, on="city_full")
        made: dict[str, pd.Series] = {}
        for recipe in config.features:
            if isinstance(recipe, Frequency | TargetMean):
                table, default = fitted[recipe.name]
                made[recipe.name] = _key(recipe, frame).map(table).fillna(default)
            else:
                made |= _row_wise(recipe, frame)
        return pd.DataFrame(made).astype(np.float32)

    return features


def encode(splits: Splits, config: DatasetConfig) -> Splits:
    features: dict[str, dict[str, pd.Series]] = {name: {} for name in splits}
    for recipe in config.features:
        if isinstance(recipe, Frequency | TargetMean):
            add = _fitted(recipe, splits["train"])
            for name, frame in splits.items():
                features[name][recipe.name] = add(frame, name == "train")
        else:
            for name, frame in splits.items():
                features[name] |= _row_wise(recipe, frame)
    meta = list(config.meta_columns)
    return {
        name: pd.concat([frame[meta], pd.DataFrame(features[name]).astype(np.float32)], axis=1)
        for name, frame in splits.items()
    }


def _row_wise(recipe: Numbers | DateParts | Ratio, frame: pd.DataFrame) -> Mapping[str, pd.Series]:
    if isinstance(recipe, Numbers):
        return {name: frame[name] for name in recipe.columns}
    if isinstance(recipe, DateParts):
        return {part: getattr(frame[recipe.column].dt, part) for part in recipe.parts}
    bottom = frame[recipe.denominator]
    ratio = frame[recipe.numerator] / bottom.where(bottom != 0)
    return {recipe.name: ratio.where(ratio.abs() <= LARGEST)}


def _key(recipe: Frequency | TargetMean, frame: pd.DataFrame) -> pd.Series:
    return frame[recipe.column].str[: recipe.prefix] if recipe.prefix else frame[recipe.column]


def _fitted(recipe: Frequency | TargetMean, train: pd.DataFrame) -> Callable[[pd.DataFrame, bool], pd.Series]:
    key = _key(recipe, train)
    if isinstance(recipe, Frequency):
        counts = key.value_counts()
        return lambda frame, _: _key(recipe, frame).map(counts).fillna(0)
    target, fold = np.log(train["price"]), np.arange(len(train)) % recipe.folds

    def out_of_fold() -> pd.Series:
        encoded = pd.Series(np.nan, index=train.index)
        for held_out in range(recipe.folds):
            inside = fold == held_out
            means, prior = _smoothed(target[~inside], key[~inside], recipe.smoothing)
            encoded[inside] = key[inside].map(means).fillna(prior)
        return encoded

    means, prior = _smoothed(target, key, recipe.smoothing)
    return lambda frame, training: out_of_fold() if training else _key(recipe, frame).map(means).fillna(prior)


def _smoothed(target: pd.Series, key: pd.Series, smoothing: float) -> tuple[pd.Series, float]:
    groups = target.groupby(key).agg(["sum", "count"])
    prior = target.mean()
    return (groups["sum"] + smoothing * prior) / (groups["count"] + smoothing), prior
