"""Compare errors on unseen rows with those of the reference recipe, trained in the same run on the same rows.

The reference: 39 features, zeros as they are, the city's mean price and the ZIP code's frequency in train, both copies
of a duplicate and list prices above 19 million deleted, 500 trees of depth 6 on the raw price. Ours: the real stages,
with the config's own parameters and with those that a search over train leaves. Each is fitted, and the search run,
once per seed.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.market import MONTHS, settings_in, to_features
from benchmarks.measure import judge, machine
from src.core import metrics
from src.core.cli import read_settings, run_command
from src.core.config import PROJECT, DatasetConfig, Settings, load_config
from src.core.errors import ConfigError
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import encoders, load, preprocess, splits
from src.feature_pipeline.feature_engineering import read_matrix
from src.training_pipeline import train, tune
from src.training_pipeline import xgb as family
from src.training_pipeline.families import estimates

JUDGED = ("eval", "holdout")
SHOWN = ("mae", "rmse", "mape", "mdape")
# What the project promises to be no worse in, on average over the seeds.
PROMISED = ("mae", "mape", "mdape")
REFERENCE, OWN, TUNED = "reference", "housecast", "housecast, searched"
REFERENCE_PARAMS = {"learning_rate": 0.05, "max_depth": 6, "subsample": 0.8, "colsample_bytree": 0.8}
REFERENCE_ROUNDS = 500
REFERENCE_DROPS = ("date", "median_sale_price", "city", "zipcode", "city_full", "price")

# (split, metric) -> one value per seed
Scores = dict[tuple[str, str], list[float]]
# seed -> split -> estimates
Fit = Callable[[int], dict[str, NDArray[np.floating]]]
# config -> parameters that stand before its own
Find = Callable[[DatasetConfig], family.Params]


def reference(path: Path, config: DatasetConfig, rounds: int, threads: int | None) -> Fit:
    """Make the reference's features once, and return the function that fits and predicts for a seed."""
    as_written = config.model_copy(update={"missing": ()})
    tables = {"lookup": encoders.lookup_table(config)}
    parts = splits.split(load.read(path, as_written), config)
    placed = {name: preprocess.clean(part.lazy(), config, tables).collect() for name, part in parts.items()}
    fit_on = placed["train"].filter(~pl.struct(pl.all()).is_duplicated() & (pl.col("median_list_price") <= 19_000_000))
    frequency = fit_on["zipcode"].value_counts(name="zipcode_freq")
    means = fit_on.group_by("city_full").agg(pl.col("price").mean().alias("city_mean"))

    def features(frame: pl.DataFrame) -> NDArray[np.float32]:
        encoded = frame.join(frequency, on="zipcode", how="left", maintain_order="left").join(
            means, on="city_full", how="left", maintain_order="left"
        )
        date = pl.col("date").dt
        encoded = encoded.with_columns(
            pl.col("zipcode_freq").fill_null(0), year=date.year(), quarter=date.quarter(), month=date.month()
        )
        return encoded.drop(REFERENCE_DROPS).to_numpy().astype(np.float32)

    data = xgb.DMatrix(features(fit_on), label=fit_on["price"].to_numpy())
    judged = {split: xgb.DMatrix(features(placed[split])) for split in JUDGED}

    params = {**REFERENCE_PARAMS, "tree_method": "hist", "nthread": family.threads_for(data.num_row(), threads)}

    def fit(seed: int) -> dict[str, NDArray[np.floating]]:
        booster = xgb.train({**params, "seed": seed}, data, rounds)
        return {split: booster.predict(rows) for split, rows in judged.items()}

    return fit


def seeded(config: DatasetConfig, seed: int) -> DatasetConfig:
    return config.model_copy(update={"model": config.model.model_copy(update={"seed": seed})})


def ours(space: Workspace, config: DatasetConfig, settings: Settings, find: Find) -> Fit:
    """Return the function that trains as the train stage does, with the parameters that `find` finds, and predicts."""
    matrices = {split: read_matrix(space.features / f"{split}.parquet", config) for split in SPLITS}

    def fit(seed: int) -> dict[str, NDArray[np.floating]]:
        own, data = seeded(config, seed), matrices["train"]
        params = family.params_of(own, find(own), family.threads_for(len(data.y), settings.threads))
        made = train.train(data, own, params)
        return {split: estimates(made.model, matrices[split].X, own) for split in JUDGED}

    return fit


def score(
    ways: Mapping[str, Fit], actual: Mapping[str, NDArray[np.floating]], seeds: Sequence[int]
) -> dict[str, Scores]:
    """Fit every way once per seed, in turn, and judge it on eval and holdout."""
    found: dict[str, Scores] = {name: {(s, m): [] for s in JUDGED for m in SHOWN} for name in ways}
    console = Console(stderr=True)
    for seed in seeds:
        for name, fit in ways.items():
            for split, estimate in fit(seed).items():
                values = metrics.scores(actual[split], estimate)
                for metric in SHOWN:
                    found[name][split, metric].append(values[metric])
            console.print(f"seed {seed}: {name}: done", style="dim")
    return found


def print_table(found: Mapping[str, Scores], title: str, seeds: Sequence[int]) -> None:
    table = Table(title=title, caption=machine(), title_justify="left", caption_justify="left")
    table.add_column(f"mean of {len(seeds)} seeds (range)")
    for name in found:
        table.add_column(name, justify="right", no_wrap=True)
        if name != REFERENCE:
            table.add_column("ratio", justify="right")
    for key, reference_values in found[REFERENCE].items():
        cells = []
        for name, scores in found.items():
            cells.append(_spread(scores[key], key[1]))
            if name != REFERENCE:
                cells.append(f"{np.mean(scores[key]) / np.mean(reference_values):.3f}")
        table.add_row(f"{key[0]} {metrics.LABELS[key[1]]}", *cells)
    Console(width=max(Console().width, 140)).print(table)


def print_worse(found: Mapping[str, Scores], seeds: Sequence[int]) -> None:
    """Name every seed and score in which ours is worse than the reference with the same seed."""
    for name in found:
        for key, values in found[name].items():
            pairs = zip(seeds, values, found[REFERENCE][key], strict=True)
            worse = [f"{seed} by {100 * (mine / theirs - 1):.1f} %" for seed, mine, theirs in pairs if mine > theirs]
            if worse:
                label = f"{key[0]} {metrics.LABELS[key[1]]}"
                print(f"{name}: {label} is worse than the reference's for seed {', '.join(worse)}")


def verdicts(found: Mapping[str, Scores]) -> list[tuple[str, bool]]:
    checks = []
    for name in (OWN, TUNED):
        for split, metric in found[name]:
            if metric in PROMISED:
                ratio = float(np.mean(found[name][split, metric]) / np.mean(found[REFERENCE][split, metric]))
                text = f"{name}: {split} {metrics.LABELS[metric]} no worse than the reference's: {ratio:.3f} of it"
                checks.append((text, ratio <= 1))
    return checks


def real_rows(config: DatasetConfig, settings: Settings) -> Path | None:
    """Return the first of the config's files under DATA_ROOT, or beside the project where it is developed."""
    roots = (settings.data_root, PROJECT.parent / "shared" / "data")
    return next((root / name for root in roots for name in config.source.files if (root / name).is_file()), None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    args = _arguments(argv)
    config, settings = load_config("housets"), read_settings()
    data = args.data or (None if args.smoke else real_rows(config, settings))
    if args.data and not args.data.is_file():
        raise ConfigError(f"--data {args.data}: no such file")
    with tempfile.TemporaryDirectory(prefix="housecast-") as name:
        own = settings_in(Path(name), settings.threads)
        space = to_features(config, own, str(data or f"simulate:zips={args.zips},months={MONTHS},seed=7"))
        actual = {split: read_matrix(space.features / f"{split}.parquet", config).y for split in SPLITS}
        searches: list[bool] = []

        def search(config: DatasetConfig) -> family.Params:
            folder = space.model / str(config.model.seed)
            found = tune.run(config, own, space.features, folder, args.trials)
            searches.append(found["value"] != found["baseline"])
            kept: family.Params = found["params"]
            return kept

        ways = {
            REFERENCE: reference(data or next(space.downloads.glob("*.csv")), config, args.rounds, settings.threads),
            OWN: ours(space, config, own, lambda _: {}),
            TUNED: ours(space, config, own, search),
        }
        found = score(ways, actual, args.seeds)
    rows = ", ".join(f"{split} {len(y):,}" for split, y in actual.items())
    print_table(found, f"{data.name if data else f'simulated, {args.zips} ZIP codes'}: {rows} rows", args.seeds)
    print(f"the search left other parameters than the config's for {sum(searches)} of {len(searches)} seeds")
    print_worse(found, args.seeds)
    judge(verdicts(found), smoke=args.smoke)


def _spread(values: Sequence[float], metric: str) -> str:
    unit, digits = (1.0, 0) if metric in metrics.IN_UNIT else (100.0, 2)
    mean, low, high = (f"{unit * value:,.{digits}f}" for value in (np.mean(values), min(values), max(values)))
    return f"{mean} ({low} to {high})"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--data", type=Path, help="CSV like HouseTS; of DATA_ROOT, else a simulated market if not given")
    made.add_argument("--zips", type=int, default=200, help="ZIP codes of the simulated market")
    made.add_argument("--seeds", type=int, nargs="+", default=[42, 0, 1, 2, 3, 4])
    made.add_argument("--trials", type=int, help="of the search; the config's number if not given")
    made.add_argument("--rounds", type=int, default=REFERENCE_ROUNDS, help="of the reference")
    made.add_argument("--smoke", action="store_true", help="seconds on small data: proves only that it runs")
    args = made.parse_args(argv)
    if args.smoke:
        args.zips, args.seeds, args.trials, args.rounds = 12, [42], 1, 20
    return args


if __name__ == "__main__":
    raise SystemExit(run_command(main))
