"""Stage: validated raw splits to clean splits. Names tidied and places joined; rows dropped in training only.

Reads `raw/{train,eval,holdout}.parquet`, writes `processed/{train,eval,holdout}.parquet` and `preprocess.json`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import narwhals as nw
import polars as pl

from src.core.cli import add_input, add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import DatasetConfig, Settings
from src.core.errors import DataError
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import encoders, load, validate
from src.feature_pipeline.transforms import Tables, cleaned

logger = logging.getLogger(__name__)

# A name as the file spells it, while it is being tidied.
SPELLED = "__spelled"


@dataclass(frozen=True)
class Cleaned:
    """What cleaning did to one split."""

    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    unmatched: int
    unmatched_examples: list[str]


def clean(frame: pl.LazyFrame, config: DatasetConfig, tables: Tables) -> pl.LazyFrame:
    """Tidy names and join places; every row stays, in its order."""
    added = config.lookup.add if config.lookup else ()
    names = [name for name in frame.collect_schema().names() if name not in added]
    done = frame.select(names)
    for name in names:
        if expressions := cleaned(config, tables, [name]):
            # A market has many rows and few names, so each name is tidied and looked up once: 15 times faster.
            distinct = frame.select(name, pl.col(name).alias(SPELLED)).unique()
            tidied = nw.from_native(distinct).with_columns(expressions).to_native()
            done = done.rename({name: SPELLED}).join(
                tidied, on=SPELLED, how="left", nulls_equal=True, maintain_order="left"
            )
            done = done.drop(SPELLED)
    return done.select(*names, *added)


def drop_training_rows(frame: pl.DataFrame, config: DatasetConfig) -> tuple[pl.DataFrame, dict[str, int]]:
    """Apply the config's row rules; returns the kept rows and how many each rule took. A missing value is kept."""
    keep = pl.repeat(value=True, n=frame.height, dtype=pl.Boolean, eager=True)
    dropped: dict[str, int] = {}
    if config.rows.unique:
        keep = _first_copies(frame, list(config.keys))
        dropped["exact duplicate"] = frame.height - int(keep.sum())
    rules = [(f"{c} > {limit:,.0f}", pl.col(c) > limit) for c, limit in config.rows.max.items()]
    rules += [(f"{c} < {limit:,.0f}", pl.col(c) < limit) for c, limit in config.rows.min.items()]
    for name, breach in rules:
        taken = keep & frame.select(breach.fill_null(value=False)).to_series()
        dropped[name] = int(taken.sum())
        keep = keep & ~taken
    return frame.filter(keep), dropped


def _first_copies(frame: pl.DataFrame, keys: list[str]) -> pl.Series:
    """Mark every row that has no equal row, in all columns, before it."""
    # Equal rows have equal keys, so only rows that share a key are compared in full: 10 times faster on real data.
    suspects = frame.select(pl.struct(keys or frame.columns).is_duplicated()).to_series()
    position = pl.int_range(frame.height, dtype=pl.UInt32, eager=True)
    shared = frame.filter(suspects).with_columns(position.filter(suspects).alias(encoders.ROW))
    first = shared.unique(subset=frame.columns, keep="first")[encoders.ROW]
    return ~suspects | position.is_in(first.implode())


def _check_lookup(frame: pl.DataFrame, config: DatasetConfig, split: str) -> tuple[int, list[str]]:
    """Count rows that the lookup did not match (DataError above the config's share)."""
    if config.lookup is None:
        return 0, []
    unmatched = frame.filter(pl.col(config.lookup.add[0]).is_null())[config.lookup.by]
    examples = [str(name) for name in unmatched.unique().sort().head(3)]
    share = len(unmatched) / max(frame.height, 1)
    if share > config.lookup.max_unmatched:
        raise DataError(
            f"{split}: {len(unmatched):,} of {frame.height:,} rows ({share:.1%}) have a {config.lookup.by} that is "
            f"not in {config.lookup.table}, for example {', '.join(map(repr, examples))}; at most "
            f"{config.lookup.max_unmatched:.1%} may. Add the names to the table or to its column's renames"
        )
    if len(unmatched):
        logger.warning("%s: %d rows with unknown %s: %s", split, len(unmatched), config.lookup.by, ", ".join(examples))
    return len(unmatched), examples


def cleaned_splits(
    raw: Mapping[str, pl.LazyFrame | pl.DataFrame], config: DatasetConfig
) -> tuple[dict[str, pl.DataFrame], dict[str, Cleaned]]:
    """Clean every split and apply the row rules to `train`; returns the clean splits and what was done to each.

    Raises:
        DataError: too many rows have an unknown place, or no row is left.
    """
    tables: Tables = {"lookup": encoders.lookup_table(config)} if config.lookup else {}
    frames: dict[str, pl.DataFrame] = {}
    report: dict[str, Cleaned] = {}
    done = pl.collect_all([clean(frame.lazy(), config, tables) for frame in raw.values()])
    for split, frame in zip(raw, done, strict=True):
        unmatched, examples = _check_lookup(frame, config, split)
        rows_in = frame.height
        frame, dropped = drop_training_rows(frame, config) if split == "train" else (frame, {})
        if frame.is_empty():
            raise DataError(f"{split}: no row is left after the row rules ({dropped})")
        frames[split] = frame
        report[split] = Cleaned(rows_in, frame.height, dropped, unmatched, examples)
    return frames, report


def run(config: DatasetConfig, input_dir: Path, output_dir: Path) -> dict[str, Cleaned]:
    """Clean every split; on an error no split is replaced.

    Raises:
        DataError: a raw split is missing, or too many rows have an unknown place.
    """
    frames, report = cleaned_splits({split: load.scan_split(input_dir, split) for split in SPLITS}, config)
    for split, done in report.items():
        for rule, count in done.dropped.items():
            logger.info("%s: dropped %s rows: %s", split, f"{count:,}", rule)
    record = {split: asdict(done) for split, done in report.items()}
    load.write_splits(output_dir, frames, record="preprocess.json", content=record)
    return report


def ensure(config: DatasetConfig, workspace: Workspace, settings: Settings) -> None:
    """Run the stages up to clean splits when there are none yet, so that later stages work in a clean clone."""
    if not (workspace.processed / "preprocess.json").is_file():
        load.ensure(config, workspace, settings)
        logger.info("no clean splits in %s yet: making them", workspace.processed)
        validate.run(config, workspace.raw, workspace.reports / "quality")
        run(config, workspace.raw, workspace.processed)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    add_input(args_parser, "folder of the raw splits; the workspace's data/raw if not given")
    add_output_dir(args_parser, "folder of the clean splits; the workspace's data/processed if not given")
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    workspace = Workspace.of(config.name, settings)
    if args.input is None:
        load.ensure(config, workspace, settings)
    output_dir = args.output_dir or workspace.processed
    # Nothing downstream sees a split that failed, whoever starts this stage.
    quality = args.output_dir / "quality" if args.output_dir else workspace.reports / "quality"
    validate.run(config, args.input or workspace.raw, quality)
    for split, done in run(config, args.input or workspace.raw, output_dir).items():
        logger.info("%s: %s rows in, %s out", split, f"{done.rows_in:,}", f"{done.rows_out:,}")
    logger.info("clean splits are in %s", output_dir)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
