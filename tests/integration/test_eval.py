"""The whole stage on a small simulated market: report, gate, bundle, store, MLflow record."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient
from rich.console import Console

from src.api.contract import RowContract, examples
from src.core import bundle, lineage
from src.core.cli import run_command
from src.core.config import PROJECT, DatasetConfig, Gate, Model, Settings, parse_config
from src.core.errors import BundleError, DataError, GateError, StoreError
from src.core.files import read_json, write_json
from src.core.manifest import RECENT
from src.core.plain_pickle import load_plain
from src.core.store import FolderStore
from src.core.workspace import SPLITS, Workspace
from src.feature_pipeline import feature_engineering, load, preprocess
from src.inference_pipeline.predictor import Predictor
from src.inference_pipeline.trend import Trend
from src.training_pipeline import candidate, charts, publish, train
from src.training_pipeline import eval as evaluation
from src.training_pipeline.eval import Evaluation, Places
from src.training_pipeline.tracking import tracking_uri
from tests.factories import housets_frame

# MLflow's own models use a SQLAlchemy option that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

Judge = Callable[..., Evaluation]


@dataclass(frozen=True)
class Published:
    """A workspace whose model has passed the gate."""

    settings: Settings
    places: Places
    store: FolderStore
    result: Evaluation

    @property
    def version(self) -> str:
        assert self.result.version is not None
        return self.result.version


@pytest.fixture(scope="module")
def quick(config: DatasetConfig) -> DatasetConfig:
    model = Model(params={"learning_rate": 0.15, "max_depth": 4, "min_child_weight": 2}, max_rounds=80)
    easy = Gate(max={"eval": {"mape": 0.5}}, beats=("median",))
    return config.model_copy(update={"model": model, "gate": easy})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, quick: DatasetConfig) -> Path:
    """A workspace in which every stage up to training has run."""
    root = tmp_path_factory.mktemp("workspace")
    settings = Settings(workspace=root, threads=1)
    workspace = Workspace.of(quick.name, settings)
    housets_frame(rows=1_000).write_csv(root / "market.csv")
    load.run(quick, str(root / "market.csv"), settings, workspace.raw)
    preprocess.run(quick, workspace.raw, workspace.processed)
    feature_engineering.run(quick, workspace.processed, workspace.features)
    train.run(quick, settings, workspace.features, workspace.model)
    return root


def places_of(settings: Settings) -> Places:
    ws = Workspace.of("housets", settings)
    return Places(ws.model, ws.features, ws.raw, ws.reports / "evaluation")


@pytest.fixture(scope="module")
def published(made: Path, quick: DatasetConfig, tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("published") / "workspace"
    shutil.copytree(made, root)
    settings = Settings(workspace=root, threads=1)
    store = FolderStore(root / "models")
    result = evaluation.run(quick, settings, places_of(settings), store, publishing=True)
    return Published(settings, places_of(settings), store, result)


@pytest.fixture
def settings(made: Path, tmp_path: Path) -> Settings:
    shutil.copytree(made, tmp_path / "workspace")
    return Settings(workspace=tmp_path / "workspace", threads=1)


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    return FolderStore(settings.workspace / "models")


@pytest.fixture
def places(settings: Settings) -> Places:
    return places_of(settings)


@pytest.fixture
def judge(
    quick: DatasetConfig, settings: Settings, places: Places, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> Judge:
    # 15 MB of interactive pages for each of a dozen runs; the published workspace has the real ones.
    monkeypatch.setattr(charts, "write_html", lambda chart, path: None)

    def run(config: DatasetConfig = quick, *, publishing: bool = True) -> Evaluation:
        return evaluation.run(config, settings, places, store, publishing=publishing)

    return run


def record_of(settings: Settings) -> MlflowClient:
    return MlflowClient(tracking_uri(settings), tracking_uri(settings))


def stricter(config: DatasetConfig) -> DatasetConfig:
    return config.model_copy(update={"gate": Gate(max={"eval": {"mape": 0.0001}})})


def test_a_passing_model_is_published_promoted_and_recorded(published: Published) -> None:
    result = published.result
    result.require()
    assert result.promoted
    pointer = published.store.current("housets")
    assert pointer is not None
    assert pointer.version == result.version
    client = record_of(published.settings)
    registered = client.get_model_version_by_alias("housets", "champion")
    assert registered.tags["version"] == result.version
    assert registered.tags["gate"] == "passed"
    assert (registered.tags["stage"], registered.tags["promoted_why"]) == ("production", "gate passed: 2 lines")
    assert registered.run_id is not None
    run = client.get_run(registered.run_id)
    assert run.data.metrics["eval_mape"] == pytest.approx(result.cards["eval"].scores["mape"])
    assert {"holdout_COD", "holdout_coverage_80"} <= set(run.data.metrics)
    logged = {artifact.path for artifact in client.list_artifacts(registered.run_id, "evaluation")}
    assert {"evaluation/index.html", "evaluation/residuals.png", "evaluation/scores.json"} <= logged


def test_the_bundle_holds_what_the_architecture_says(
    published: Published, tmp_path: Path, quick: DatasetConfig
) -> None:
    folder = published.store.fetch("housets", published.version, tmp_path / "fetched")
    manifest = bundle.verify(folder)
    assert manifest.data_fingerprint == json.loads((published.places.raw / "load.json").read_text())["sha256"]
    assert parse_config((folder / "config.yaml").read_text(), "bundle").digest == quick.digest
    plain = load_plain(folder / "encoders.pkl")
    assert list(plain["intervals"]) == ["0.8", "0.95"]
    assert plain["tables"].keys() >= {"lookup", "zipcode_freq", "city_target"}
    reference = pl.read_parquet(folder / "reference.parquet")
    assert set(reference.columns) == {*quick.feature_names, *quick.meta_columns, "predicted_price"}
    assert 0 < reference.height <= publish.REFERENCE_ROWS
    stored = json.loads((folder / "metrics.json").read_text())
    assert stored["eval"]["scores"] == published.result.cards["eval"].scores
    card = (folder / "model_card.md").read_text()
    for text in (published.version, "Not an appraisal", "last known (needs history)", "| 80 % |", "ratio study"):
        assert text in card


def test_the_bundle_holds_the_newest_row_of_each_place_without_its_price(
    published: Published, tmp_path: Path, quick: DatasetConfig
) -> None:
    folder = published.store.fetch("housets", published.version, tmp_path / "fetched")
    assert RECENT in bundle.verify(folder).files
    recent = pl.read_parquet(folder / RECENT)
    raw = pl.concat([pl.read_parquet(published.places.raw / f"{split}.parquet") for split in SPLITS])
    last = raw.group_by("zipcode").agg(pl.col("date").max())
    assert dict(recent.select("zipcode", "date").iter_rows()) == dict(last.iter_rows())
    assert set(recent.columns) == set(quick.raw_inputs)
    assert not {quick.target.column, *quick.leakage} & set(recent.columns)
    rows = examples(recent.with_columns(pl.col("date").cast(pl.String)).to_dicts(), quick)
    assert len(Predictor.load(folder).predict(RowContract(quick).check(rows)).estimate) == recent.height


def test_the_lineage_of_a_published_model_leads_back_to_its_data_and_run(
    published: Published, quick: DatasetConfig
) -> None:
    found = lineage.of(published.store, "housets", published.version)
    trained = read_json(published.places.model / "train.json")
    loaded = read_json(published.places.raw / "load.json")
    assert found["data"] == {
        "fingerprint": loaded["sha256"],
        "source": loaded["source"],
        "rows": 1_000,
        "splits": loaded["splits"],
        "trained_on": trained["rows"],
    }
    assert found["config"]["sha256"] == quick.digest
    assert found["config"]["trained_sha256"] is None
    assert found["parameters"] == trained["params"]
    assert (found["family"], found["variant"]) == ("xgboost", trained["variant"])
    assert not {"model", "features"} & set(found["training"]), "the bundle has them elsewhere"
    assert (found["rounds"], found["seed"]) == (trained["rounds"], quick.model.seed)
    assert record_of(published.settings).get_run(found["mlflow_run_id"]).data.params["rounds"] == str(found["rounds"])
    assert found["scores"]["holdout"]["scores"] == published.result.cards["holdout"].scores
    assert set(found["scores"]["eval"]["baselines"]) == {"median", "linear", "last_known"}
    assert found["gate"]["passed"]
    assert [(move["stage"], move["why"]) for move in found["moves"]] == [("production", "gate passed: 2 lines")]
    assert parse_config(lineage.config_of(published.store, "housets", published.version), "x").digest == quick.digest


def test_a_config_that_changed_after_training_is_told_apart(
    judge: Judge, store: FolderStore, quick: DatasetConfig
) -> None:
    changed = stricter(quick)
    version = judge(changed).version
    assert version is not None
    found = lineage.of(store, "housets", version)["config"]
    assert (found["sha256"], found["trained_sha256"]) == (changed.digest, quick.digest)


def test_golden_rows_are_few_diverse_and_include_missing_values(
    published: Published, tmp_path: Path, quick: DatasetConfig
) -> None:
    folder = published.store.fetch("housets", published.version, tmp_path / "fetched")
    golden = json.loads((folder / "golden.json").read_text())
    assert 8 <= len(golden["rows"]) == len(golden["predictions"]) == len(golden["margins"]) <= 16
    assert len({row["city_full"] for row in golden["rows"]}) > 1
    most = max(sum(value is None for value in row.values()) for row in golden["rows"])
    raw = pl.read_parquet(published.places.raw / "eval.parquet").select(quick.raw_inputs)
    assert most == raw.select(pl.sum_horizontal(pl.all().is_null()).max()).item() > 0


def test_the_published_model_serves_what_was_judged(published: Published, tmp_path: Path) -> None:
    predictor = Predictor.load(published.store.fetch("housets", published.version, tmp_path / "fetched"))
    raw = pl.read_parquet(published.places.raw / "holdout.parquet")
    said = predictor.predict(raw)
    actual = raw["price"].to_numpy()
    card = published.result.cards["holdout"]
    assert np.mean(np.abs(said.estimate - actual)) == pytest.approx(card.scores["mae"], rel=1e-6)
    for held in card.coverage:
        inside = np.mean((said.lower[held.level] <= actual) & (actual <= said.upper[held.level]))
        assert inside == pytest.approx(held.observed)


def test_a_failing_model_is_kept_tagged_and_not_promoted(
    judge: Judge, store: FolderStore, settings: Settings, quick: DatasetConfig
) -> None:
    good = judge()
    failed = judge(stricter(quick))
    assert failed.version in store.versions("housets")
    assert not failed.promoted
    pointer = store.current("housets")
    assert pointer is not None
    assert pointer.version == good.version
    with pytest.raises(GateError, match="eval mape is"):
        failed.require()
    client = record_of(settings)
    challenger = client.get_model_version_by_alias("housets", "challenger")
    assert challenger.tags["version"] == failed.version
    assert challenger.tags["gate"] == "failed"
    assert "eval mape" in challenger.tags["gate_failed"]
    assert client.get_model_version_by_alias("housets", "champion").tags["version"] == good.version


def test_a_worse_model_does_not_replace_the_current_one(
    judge: Judge, settings: Settings, quick: DatasetConfig, places: Places, store: FolderStore
) -> None:
    good = judge()
    weak = quick.model_copy(update={"model": quick.model.model_copy(update={"max_rounds": 8})})
    train.run(weak, settings, places.features, places.model)
    worse = judge(weak)
    assert [line.name for line in worse.verdict.failed] == [f"eval mae beside the current {good.version}"]
    assert not worse.promoted


def test_a_current_model_that_cannot_price_these_rows_is_said_and_not_compared(
    judge: Judge, store: FolderStore, settings: Settings
) -> None:
    good = judge()
    assert good.version is not None
    (store.root / "housets" / good.version / "model.ubj").write_bytes(b"altered")
    again = judge()
    assert again.promoted
    assert f"the current {good.version} cannot price these rows" in again.verdict.notes[0]
    assert "model.ubj" in again.verdict.notes[0]


def test_a_current_model_that_is_gone_is_said_and_one_that_the_store_withholds_stops_the_work(
    judge: Judge, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = judge()
    assert good.version is not None

    def unreachable(*args: object) -> Path:
        raise StoreError("the network is down")

    monkeypatch.setattr(FolderStore, "fetch", unreachable)
    with pytest.raises(StoreError, match="network is down"):
        judge()
    monkeypatch.undo()
    shutil.rmtree(store.root / "housets" / good.version)
    again = judge()
    assert again.promoted
    assert f"no version {good.version}" in again.verdict.notes[0]


def test_a_promotion_during_the_work_wins_and_the_loser_is_a_challenger(
    judge: Judge, store: FolderStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = judge(), judge()
    real = publish.check_serving

    def meanwhile(*args: object) -> Predictor:
        assert first.version is not None
        store.promote("housets", first.version, by="someone", why="faster")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(publish, "check_serving", meanwhile)
    with pytest.raises(StoreError, match=f"{first.version} .by someone"):
        judge()
    client = record_of(settings)
    champion = client.get_model_version_by_alias("housets", "champion")
    assert champion.tags["version"] == first.version, "MLflow shows what the store says, whoever moved it"
    assert (champion.tags["stage"], champion.tags["promoted_by"]) == ("production", "someone")
    challenger = client.get_model_version_by_alias("housets", "challenger").tags["version"]
    assert challenger == store.versions("housets")[-1]
    assert challenger not in (first.version, second.version)


def test_no_publish_leaves_the_store_alone(judge: Judge, store: FolderStore, places: Places) -> None:
    result = judge(publishing=False)
    assert result.version is None
    assert store.versions("housets") == []
    assert (places.reports / "index.html").is_file()


def test_serving_that_disagrees_with_training_is_refused(judge: Judge, store: FolderStore, places: Places) -> None:
    path = places.raw / "eval.parquet"
    raw = pl.read_parquet(path)
    raw.with_columns(pl.col("median_ppsf", "median_list_ppsf", "Per Capita Income") * 2).write_parquet(path)
    with pytest.raises((GateError, BundleError), match=r"disagree|golden"):
        judge()
    assert store.versions("housets") == []


def test_the_trend_under_the_trees_is_judged_and_published(
    judge: Judge, store: FolderStore, places: Places, quick: DatasetConfig, tmp_path: Path
) -> None:
    X = feature_engineering.read_matrix(places.features / "train.parquet", quick).X
    column = quick.feature_names.index("median_ppsf")
    trend = Trend.fit(X, 0.01 * np.log(np.nan_to_num(X[:, column], nan=100.0)).astype(float), (column,), 1.0, 1.0)
    without = judge(publishing=False)
    write_json(
        places.model / "train.json", {**read_json(places.model / "train.json"), "model": {"trend": trend.plain()}}
    )
    result = judge()
    assert result.cards["eval"].scores != without.cards["eval"].scores
    assert result.version is not None
    predictor = Predictor.load(store.fetch("housets", result.version, tmp_path / "fetched"))
    raw = pl.read_parquet(places.raw / "eval.parquet")
    error = np.mean(np.abs(predictor.predict(raw).estimate - raw["price"].to_numpy()))
    assert error == pytest.approx(result.cards["eval"].scores["mae"])


@pytest.mark.parametrize("name", ["model.ubj", "train.json"])
def test_a_missing_model_says_what_to_run(judge: Judge, places: Places, name: str) -> None:
    (places.model / name).unlink()
    with pytest.raises(DataError, match=f"{name} does not exist: run"):
        judge()


def test_a_model_that_was_altered_after_training_is_not_parsed(judge: Judge, places: Places) -> None:
    path = places.model / "model.ubj"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError, match=r"model\.ubj is not the model that train\.json"):
        judge()


def test_features_made_after_training_are_refused(judge: Judge, places: Places, quick: DatasetConfig) -> None:
    frame = pl.read_parquet(places.features / "train.parquet")
    frame.head(200).write_parquet(places.features / "train.parquet")
    with pytest.raises(DataError, match="trained on other features"):
        judge()


def test_a_target_that_cannot_be_judged_is_named(judge: Judge, places: Places) -> None:
    path = places.features / "holdout.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(price=pl.when(pl.int_range(pl.len()) < 3).then(0.0).otherwise("price")).write_parquet(path)
    with pytest.raises(DataError, match="holdout: price must be above 0 in every row, and is not in 3"):
        judge()


def test_too_few_eval_rows_give_no_interval_and_say_so(
    judge: Judge, places: Places, quick: DatasetConfig, settings: Settings
) -> None:
    for folder in (places.features, places.raw):
        frame = pl.read_parquet(folder / "eval.parquet")
        frame.head(20).write_parquet(folder / "eval.parquet")
    result = judge(publishing=False)
    assert result.cards["holdout"].missing_levels == (0.95,)
    assert "not enough data" in (places.reports / "index.html").read_text()
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(evaluation.summary(result))
    assert "not enough data" in console.export_text()


def test_the_same_model_gives_the_same_scores(judge: Judge, published: Published) -> None:
    assert judge(publishing=False).cards == published.result.cards


def test_last_known_prices_come_from_any_earlier_split(quick: DatasetConfig, places: Places) -> None:
    loaded = candidate.load(quick, places.model, places.features, places.raw)
    holdout = candidate.judged(loaded)[1]
    last = holdout.baselines["last_known"]
    known = ~np.isnan(last)
    assert known.mean() > 0.9
    assert np.median(np.abs(last[known] / holdout.y[known] - 1)) < 0.15


def test_the_command_prints_the_tables_and_exits_by_the_gate(
    settings: Settings,
    places: Places,
    quick: DatasetConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WORKSPACE", str(settings.workspace))
    monkeypatch.setenv("COLUMNS", "200")
    for name, config in (("easy", quick), ("strict", stricter(quick))):
        (tmp_path / f"{name}.yaml").write_text(publish.as_yaml(config))
    shutil.copy(PROJECT / "configs" / "metros.csv", tmp_path / "metros.csv")
    arguments = ["--store", str(tmp_path / "store"), "--output-dir", str(tmp_path / "report")]
    assert run_command(evaluation.main, ["--dataset", str(tmp_path / "easy.yaml"), *arguments]) == 0
    shown = capsys.readouterr().out
    for text in ("median of train", "linear model", "last known (needs history)", "cross-fitted", "Gate: passed"):
        assert text in shown
    assert "current" in shown
    assert (tmp_path / "report" / "scores.json").is_file()
    assert run_command(evaluation.main, ["--dataset", str(tmp_path / "strict.yaml"), *arguments]) == 1
    captured = capsys.readouterr()
    assert "Gate: FAILED" in captured.out
    assert "eval mape is" in captured.err
    assert len(FolderStore(tmp_path / "store").versions("housets")) == 2


def test_help_tells_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        evaluation.main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--dataset", "--input", "--model", "--raw", "--output-dir", "--store", "--no-publish", "exit codes"):
        assert flag in shown
