"""Stage: a raw source to typed train, eval and holdout splits.

Writes `raw/{train,eval,holdout}.parquet` (also as `.csv`) and `load.json`: the source, its SHA-256, rows.
"""

import argparse
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl

from src.core.cli import add_output_dir, parser, read_dataset, read_settings, run_command
from src.core.config import Column, DatasetConfig, Settings
from src.core.errors import DataError
from src.core.files import replacing, sha256, write_json
from src.core.recipes import LARGEST
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import sources
from src.feature_pipeline.content import NULLS, readable
from src.feature_pipeline.splits import split
from src.feature_pipeline.transforms import known_values, padded, require_columns

logger = logging.getLogger(__name__)

# Marks, while a source is read, the rows that hold a value that is not of its column's type.
WRONG = "__wrong"


@dataclass(frozen=True)
class Loaded:
    """A load's record: what came in and what went out."""

    dataset: str
    source: str
    sha256: str
    rows: int
    splits: dict[str, int]
    dropped: int = 0  # rows that equal an earlier one, where the config's split drops them


def read(path: Path, config: DatasetConfig, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a CSV, gzip, zip, Parquet file or folder of Parquet as a typed frame; row order is kept.

    Args:
        path: an existing file or folder.
        config: names the columns and their types.
        columns: those that must be there; all of the config's if not given. Further columns of the file that the
            config does not know are left out.

    Raises:
        DataError: not what its name says, a column is missing, or a value cannot be read as its type.
    """
    with readable(path) as file:
        is_text = file.is_file() and file.suffix.lower() != ".parquet"
        # Comparing each of 35 million fields with the NULLS takes a third of the parser's time, so it is done only
        # where a date or number cannot be read without; texts are compared once per distinct value.
        attempts = ([], NULLS) if is_text else ([],)
        for nulls in attempts:
            try:
                frame = _scan(file, config, nulls)
                names = frame.collect_schema().names()
                require_columns(names, list(columns or config.columns), str(path))
                frame = frame.select([name for name in config.columns if name in names])
                return typed(frame, config, str(path), NULLS if is_text else ())
            except (pl.exceptions.PolarsError, OSError, DataError) as error:
                if nulls is not attempts[-1]:
                    continue
                if isinstance(error, DataError):
                    raise
                raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    raise AssertionError("unreachable")


def _scan(path: Path, config: DatasetConfig, nulls: list[str]) -> pl.LazyFrame:
    rename = config.source.rename
    # Never as a pattern: a path may hold brackets or stars.
    if path.is_dir() or path.suffix.lower() == ".parquet":
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        return pl.scan_parquet(files, glob=False).rename(rename, strict=False)
    in_file = {name: old for old, name in rename.items()}
    types = {
        in_file.get(name, name): pl.Float64 if column.type == "number" else pl.String
        for name, column in config.columns.items()
    }
    frame = pl.scan_csv(path, schema_overrides=types, null_values=nulls, infer_schema=False, glob=False)
    return frame.rename(rename, strict=False)


def typed(frame: pl.LazyFrame, config: DatasetConfig, where: str, nulls: Collection[str] = ()) -> pl.DataFrame:
    """Collect declared columns in their type; restore leading zeros, turn missing codes into missing values.

    Doing it twice changes nothing, so a split that was written by `load` can be read by it.

    Args:
        frame: rows with some of the config's columns and no others.
        config: names the types.
        where: what the rows are, for messages.
        nulls: texts that mean `missing` in a text column.

    Raises:
        DataError: a date or number cannot be read, or a number is infinite; names column and examples.
    """
    casts, wrong = [], {}
    for name, kind in frame.collect_schema().items():
        column = config.columns[name]
        require_kind(name, column, kind, where)
        if column.type == "text":
            continue
        cast = cast_to(column, pl.col(name), kind)
        casts.append(cast)
        wrong[name] = cast.is_null() & pl.col(name).is_not_null()
        if column.type == "number":
            # Polars has NaN above every number, and here it is a missing value.
            wrong[name] |= cast.is_not_nan() & (cast.abs() > LARGEST)
    # One pass over the rows; where a value is wrong, a second one says which.
    checked = frame.with_columns(*casts, pl.any_horizontal(pl.lit(value=False), *wrong.values()).alias(WRONG))
    rows = checked.with_columns(known_values(config, checked.collect_schema().names(), pl)).collect()
    if rows[WRONG].any():
        raise DataError(_wrong_values(frame, wrong, config, where))
    texts = [_padded(rows[n], c, nulls) for n, c in config.columns.items() if n in rows.columns and c.type == "text"]
    # In one piece, so that whoever cuts it by time gets slices instead of copies.
    return rows.drop(WRONG).with_columns(texts).rechunk()


def require_kind(name: str, column: Column, kind: pl.DataType, where: str) -> None:
    """Refuse a column whose values are no texts, numbers or dates at all (DataError names it and what it holds)."""
    # Polars makes numbers of these without a word: 1 of true, days since 1970 of a date.
    is_other = column.type == "number" and (kind == pl.Boolean or kind.is_temporal())
    if kind.is_nested() or kind == pl.Binary or is_other:
        raise DataError(f"{where}: column {name}: holds {kind}, not {column.type}")


def cast_to(column: Column, value: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return a number or date of a value of some kind, null where it is none."""
    if isinstance(kind, pl.Categorical | pl.Enum):
        value, kind = value.cast(pl.String), pl.String()
    if column.type == "number":
        return value if kind == pl.Float64 else value.cast(pl.Float64, strict=False)
    if kind == pl.Date:
        return value
    text = value if kind == pl.String else value.cast(pl.String)
    return text.str.head(10).str.to_date("%Y-%m-%d", strict=False)


def _wrong_values(frame: pl.LazyFrame, wrong: Mapping[str, pl.Expr], config: DatasetConfig, where: str) -> str:
    counts = frame.select(is_wrong.sum().alias(name) for name, is_wrong in wrong.items()).collect().row(0, named=True)
    name = next(name for name, count in counts.items() if count)
    found = frame.filter(wrong[name]).select(name).head(3).collect().to_series()
    asked = "a date like 2021-05-31" if config.columns[name].type == "date" else "a finite number"
    examples = ", ".join(map(repr, found))
    return f"{where}: column {name}: {counts[name]:,} values are not {asked}, for example {examples}"


def _padded(texts: pl.Series, column: Column, nulls: Collection[str]) -> pl.Series:
    # A market has many rows and few names, so each name is padded once.
    before = texts.unique().drop_nulls()
    before = before.filter(~before.cast(pl.String).is_in(list(nulls)))
    after = nw.from_native(before.to_frame()).select(padded(texts.name, column)).to_native().to_series()
    return texts.replace_strict(before, after, default=None, return_dtype=pl.String)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's Parquet files by name and content, in hex."""
    if path.is_file():
        return sha256(path)
    digest = hashlib.sha256()
    for part in sorted(path.rglob("*.parquet")):
        digest.update(f"{part.relative_to(path)} {sha256(part)}\n".encode())
    return digest.hexdigest()


def run(
    config: DatasetConfig, source: str | None, settings: Settings, output_dir: Path, *, csv: bool = False
) -> Loaded:
    """Load a source into splits; on an error no split is replaced.

    Without `csv`, the CSV splits of an earlier load are removed, as they are of other rows.

    Raises:
        ConfigError: no such source.
        DataError: the source cannot be read, lacks a column, or leaves a split empty.
    """
    source = sources.own_source(config, settings) if source is None else source
    path = sources.resolve(source, config, settings, output_dir.parent / "downloads")
    logger.info("reading %s", path)
    with ThreadPoolExecutor(1) as pool:  # hashing waits on the disk while Polars parses
        digest = pool.submit(fingerprint, path)
        frame = read(path, config)
        parts = split(frame, config)
        counts = {name: part.height for name, part in parts.items()}
        loaded = Loaded(
            dataset=config.name,
            source=sources.recorded(source, settings),
            sha256=digest.result(),
            rows=frame.height,
            splits=counts,
            dropped=frame.height - sum(counts.values()),
        )
    write_splits(output_dir, parts, record="load.json", content=asdict(loaded), csv=csv)
    for name in () if csv else parts:
        (output_dir / f"{name}.csv").unlink(missing_ok=True)
    return loaded


def write_splits(
    folder: Path,
    frames: dict[str, pl.DataFrame],
    *,
    record: str,
    content: Any,
    csv: bool = False,
    more: Mapping[str, Callable[[Path], None]] | None = None,
) -> None:
    """Write a stage's splits, its JSON record and `more` files (name -> writer): all of them, or on an error none.

    Everything is written beside the old files before the first of them is replaced; the record comes last.

    Raises:
        OSError: the folder cannot be written, for example because the disk is full.
    """
    with ExitStack() as replacements:
        write_json(replacements.enter_context(replacing(folder / record)), content)
        for name, write in (more or {}).items():
            write(replacements.enter_context(replacing(folder / name)))
        try:
            for name, frame in frames.items():
                path = replacements.enter_context(replacing(folder / f"{name}.parquet"))
                frame.write_parquet(path, compression="lz4")
                if csv:
                    frame.write_csv(replacements.enter_context(replacing(folder / f"{name}.csv")))
        except pl.exceptions.PolarsError as error:
            raise OSError(f"cannot write to {folder}: {error}") from error


def scan_split(folder: Path, split_name: str) -> pl.LazyFrame:
    """Scan one split that a stage wrote (DataError when it is not there)."""
    path = folder / f"{split_name}.parquet"
    if not path.is_file():
        raise DataError(f"{path} does not exist; run the stage before this one, or `python -m src.pipeline`")
    frame = pl.scan_parquet(path, glob=False)
    try:
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is damaged ({error}); run the stage that writes it again") from error
    return frame


def ensure(config: DatasetConfig, workspace: Workspace, settings: Settings) -> None:
    """Load the default source when no raw split is there yet, so that later stages work in a clean clone."""
    if not all((workspace.raw / f"{name}.parquet").is_file() for name in SPLITS):
        logger.info("no raw splits in %s yet: loading them", workspace.raw)
        run(config, None, settings, workspace.raw, csv=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage from the command line."""
    args_parser = parser(__doc__.splitlines()[0])
    args_parser.add_argument(
        "--input",
        help="CSV (also .gz, .zip), Parquet file or folder, SQLite file, SQLAlchemy URL, s3://, https://, "
        "kaggle:OWNER/NAME, sklearn:NAME or simulate:zips=400,months=142,seed=7; the config's own source if not given",
    )
    add_output_dir(args_parser, "folder of the raw splits; the workspace's data/raw if not given")
    args_parser.add_argument(
        "--csv", action=argparse.BooleanOptionalAction, default=True, help="write the splits as CSV too"
    )
    args = args_parser.parse_args(argv)
    settings = read_settings()
    config = read_dataset(args, settings)
    output_dir = args.output_dir or Workspace.of(config.name, settings).raw
    loaded = run(config, args.input, settings, output_dir, csv=args.csv)
    counts = ", ".join(f"{name} {rows:,}" for name, rows in loaded.splits.items())
    logger.info("%s rows from %s: %s; in %s", f"{loaded.rows:,}", loaded.source, counts, output_dir)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
