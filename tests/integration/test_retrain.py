"""A challenger earns the champion's place or does not, and whatever fails leaves the champion where it is."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from src.core import lineage
from src.core.cli import run_command
from src.core.config import DatasetConfig, Settings, load_config, parse_config
from src.core.errors import DataError, GateError, StoreError
from src.core.folder_store import FolderStore
from src.core.sections import TimeSplit
from src.feature_pipeline.simulate import simulate
from src.monitoring import decisions, retrain
from src.monitoring.database import opened
from src.monitoring.tables import retrainings
from src.training_pipeline import challenger
from src.training_pipeline.eval import Evaluation
from src.training_pipeline.gate import Line, Verdict
from tests.bundles import sealed
from tests.once import untraced
from tests.postgres import Postgres

# The champion sees the market to 2016-10, then prices rise by half at once.
SHOCK = date(2016, 11, 1)


def quick() -> DatasetConfig:
    """Return HouseTS's config with a model of seconds and without a search."""
    config = load_config("housets")
    model = config.model.model_dump() | {"max_rounds": 40, "early_stopping": {"rounds": 10, "months": 6}}
    loose = {"max": {"eval": {"mape": 0.5}, "holdout": {"mape": 0.5}}, "beats": ["median"]}
    patch = {"model": model, "tuning": {"space": {}}, "gate": loose, "retraining": {"eval_months": 3}}
    return DatasetConfig.model_validate(config.model_dump() | patch)


CONFIG = quick()


def market(path: Path, *, to: date, shock: bool = True) -> str:
    """Write a small market's rows up to a date."""
    frame = simulate(zips=15, months=74, seed=11).filter(pl.col("date").str.to_date() <= to)
    if shock:
        risen = pl.when(pl.col("date").str.to_date() >= SHOCK).then(1.5).otherwise(1.0)
        frame = frame.with_columns(pl.col("price") * risen)
    frame.write_csv(path)
    return str(path)


@dataclass(frozen=True)
class Trained:
    """A champion, and a challenger that took its place after prices had risen."""

    root: Path
    first: retrain.Decision
    second: retrain.Decision
    challenger: Evaluation

    @property
    def settings(self) -> Settings:
        return Settings(workspace=self.root, threads=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("retrained")
    settings, store = Settings(workspace=root, threads=1), FolderStore(root / "models")
    kept: list[Evaluation] = []
    make = challenger.make

    def keeping(*given: Any) -> Evaluation:
        kept.append(make(*given))
        return kept[-1]

    with untraced(), pytest.MonkeyPatch.context() as patch, opened(settings) as engine:
        patch.setattr(challenger, "make", keeping)
        old = market(root / "old.csv", to=date(2016, 10, 31))
        first = retrain.run(CONFIG, settings, store, engine, old)
        new = market(root / "new.csv", to=date(2018, 4, 30))
        second = retrain.run(CONFIG, settings, store, engine, new)
    return Trained(root, first, second, kept[1])


def rows_of(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(retrainings).order_by("id")).mappings()]


def test_a_data_set_without_a_model_gets_its_first_through_the_gate(trained: Trained) -> None:
    assert (trained.first.outcome, trained.first.champion, trained.first.duel) == ("promoted", None, None)
    assert trained.first.reason == "the gate passed"
    assert trained.first.due == "there is no model yet"


def test_a_challenger_that_knows_the_new_prices_takes_the_champions_place(trained: Trained) -> None:
    fought = trained.second.duel
    assert fought is not None
    assert trained.second.outcome == "promoted"
    assert (fought.rows, fought.places, [one.month for one in fought.months]) == (
        45,
        15,
        ["2018-02", "2018-03", "2018-04"],
    )
    assert fought.upper < -0.1 * fought.champion
    assert fought.difference == pytest.approx(fought.challenger - fought.champion)
    store = FolderStore(trained.root / "models")
    pointer = store.current("housets")
    assert pointer is not None
    assert (pointer.version, pointer.previous) == (trained.second.challenger, trained.first.challenger)
    assert pointer.why.startswith("retraining: the challenger is better: MAE -")
    split = parse_config(lineage.config_of(store, "housets", pointer.version), "the bundle").split
    assert split == TimeSplit(by="time", column="date", eval_from=date(2017, 11, 1), holdout_from=date(2018, 2, 1))
    known = lineage.of(store, "housets", pointer.version)
    assert known["training"]["months"]["last"] == "2017-10"
    assert known["data"]["rows"] == 15 * 74


def test_every_decision_is_a_row(trained: Trained) -> None:
    with opened(trained.settings) as engine:
        first, second = rows_of(engine)
    assert (first["outcome"], first["champion"], first["month"]) == ("promoted", None, "2016-10")
    assert first["difference"] is None
    fought = trained.second.duel
    assert fought is not None
    assert (second["outcome"], second["champion"], second["challenger"]) == (
        "promoted",
        trained.first.challenger,
        trained.second.challenger,
    )
    assert (second["champion_error"], second["challenger_error"]) == (fought.champion, fought.challenger)
    assert (second["difference"], second["lower"], second["upper"]) == (fought.difference, fought.lower, fought.upper)
    assert second["due"].endswith("24 months before the newest (12 are allowed)")


def test_the_workspace_holds_reports_and_records_and_no_data(trained: Trained) -> None:
    there = {path.name for path in trained.root.iterdir()} - {"old.csv", "new.csv"}
    assert {name.split("-")[0] for name in there} == {"models", "reports", "mlflow.db", "mlruns", "monitoring.db"}
    assert [path.name for path in (trained.root / "reports").iterdir()] == ["retraining"]


def test_mlflow_tells_a_challenger_and_what_became_of_it(trained: Trained) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{trained.root}/mlflow.db")
    run_id = lineage.of(FolderStore(trained.root / "models"), "housets", trained.second.challenger or "")[
        "mlflow_run_id"
    ]
    run = client.get_run(run_id)
    assert {name: run.data.tags[name] for name in ("role", "champion", "retraining", "gate")} == {
        "role": "challenger",
        "champion": trained.first.challenger,
        "retraining": "promoted",
        "gate": "passed",
    }
    assert run.data.metrics["duel_upper"] < 0
    by_alias = client.get_model_version_by_alias("housets", "champion")
    assert by_alias.tags["version"] == trained.second.challenger


@dataclass
class Scene:
    """A copy in which the first champion serves, and the challenger is there as if it had just been trained."""

    settings: Settings
    store: FolderStore
    source: str
    trained: Trained
    patch: pytest.MonkeyPatch

    @property
    def serving(self) -> str | None:
        pointer = self.store.current("housets")
        return pointer.version if pointer else None

    def instead(self, work: Callable[[], object] = lambda: None, *, verdict: Verdict | None = None) -> None:
        """Give the challenger that was trained once in place of training, after some work."""
        given = self.trained.challenger
        made = replace(given, verdict=verdict or given.verdict, promoted=False)

        def make(*_: object) -> Evaluation:
            work()
            space: Any = _[4]
            space.model.mkdir(parents=True)
            (space.model / "train.json").write_text("{}")
            return made

        self.patch.setattr(challenger, "make", make)

    def run(self, engine: sa.Engine, **options: Any) -> retrain.Decision:
        return retrain.run(CONFIG, self.settings, self.store, engine, self.source, **options)


@pytest.fixture
def scene(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    shutil.copytree(trained.root / "models", tmp_path / "models")
    # MLflow takes seconds to make its tables.
    shutil.copy(trained.root / "mlflow.db", tmp_path)
    store = FolderStore(tmp_path / "models")
    store.rollback("housets", by="tests", why="as it was before")
    made = Scene(Settings(workspace=tmp_path, threads=1), store, str(trained.root / "new.csv"), trained, monkeypatch)
    made.instead()
    return made


def test_a_champion_that_is_as_good_stays(scene: Scene, tmp_path: Path) -> None:
    scene.source = market(tmp_path / "calm.csv", to=date(2018, 4, 30), shock=False)
    with opened(scene.settings) as engine:
        decision = scene.run(engine)
        (row,) = rows_of(engine)
    assert decision.outcome == "refused"
    assert decision.reason.startswith("the champion is better: MAE +")
    decision.require()
    assert scene.serving == scene.trained.first.challenger
    assert (row["outcome"], row["challenger"]) == ("refused", scene.trained.second.challenger)
    assert 0 < row["lower"] < row["difference"] < row["upper"]
    assert scene.trained.second.challenger in scene.store.versions("housets")


def test_a_better_challenger_that_fails_the_gate_is_refused_and_told(scene: Scene) -> None:
    scene.instead(verdict=Verdict((Line("eval mape", 0.3, "<=", 0.2),)))
    with opened(scene.settings) as engine:
        decision = scene.run(engine)
        (row,) = rows_of(engine)
    assert scene.serving == scene.trained.first.challenger
    assert row["outcome"] == "refused"
    assert row["upper"] < 0
    assert row["reason"].endswith("the gate failed: eval mape is 0.3, and must be <= 0.2")
    with pytest.raises(GateError, match="is not promoted: the challenger is better"):
        decision.require()


def test_whoever_promotes_meanwhile_wins(scene: Scene, tmp_path: Path) -> None:
    rival = scene.store.publish("housets", sealed(tmp_path / "rival", "20300101T000000Z-0a1b2c3d"))
    scene.instead(lambda: scene.store.promote("housets", rival, by="ann", why="mine"))
    with opened(scene.settings) as engine:
        with pytest.raises(StoreError, match=rf"was not promoted: .*{rival} \(by ann"):
            scene.run(engine)
        (row,) = rows_of(engine)
    assert scene.serving == rival
    assert (row["outcome"], row["challenger"]) == ("failed", scene.trained.second.challenger)
    assert "was not promoted" in row["reason"]
    assert row["upper"] < 0


def test_a_store_that_is_gone_meanwhile_fails_it_and_the_champion_is_as_it_was(scene: Scene, tmp_path: Path) -> None:
    scene.instead(lambda: scene.store.root.rename(tmp_path / "away"))
    with opened(scene.settings) as engine:
        with pytest.raises(StoreError):
            scene.run(engine)
        (tmp_path / "away").rename(scene.store.root)
        (row,) = rows_of(engine)
        assert row["outcome"] == "failed"
        assert row["reason"].startswith("housets has no version")
        assert scene.serving == scene.trained.first.challenger
        scene.instead()
        assert scene.run(engine).outcome == "promoted"


def test_nothing_is_promoted_that_the_database_does_not_record(scene: Scene, postgres: Postgres) -> None:
    scene.settings = Settings(workspace=scene.settings.workspace, threads=1, database_url=postgres.url)  # type: ignore[arg-type]
    scene.instead(postgres.kill)
    try:
        with pytest.raises(StoreError, match="postgresql"), opened(scene.settings) as engine:
            scene.run(engine)
    finally:
        postgres.start()
    assert scene.serving == scene.trained.first.challenger
    with opened(scene.settings) as engine:
        (row,) = rows_of(engine)
        assert (row["outcome"], row["reason"]) == ("failed", decisions.UNFINISHED)
        scene.instead()
        assert scene.run(engine).outcome == "promoted"
    assert scene.serving == scene.trained.second.challenger


def test_one_that_was_stopped_is_on_record(scene: Scene) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    scene.instead(stop)
    with opened(scene.settings) as engine:
        with pytest.raises(KeyboardInterrupt):
            scene.run(engine)
        (row,) = rows_of(engine)
    assert (row["outcome"], row["reason"], row["challenger"]) == ("failed", decisions.UNFINISHED, None)


def test_months_that_the_champion_was_trained_on_judge_nothing(scene: Scene, tmp_path: Path) -> None:
    scene.source = market(tmp_path / "older.csv", to=date(2016, 4, 30))
    with opened(scene.settings) as engine:
        with pytest.raises(DataError, match="was trained on data to 2016-04, and from 2016-05-01 on there are 0 rows"):
            scene.run(engine, force=True)
        (row,) = rows_of(engine)
    assert (row["outcome"], row["challenger"]) == ("failed", None)


@contextmanager
def environment(scene: Scene, config: DatasetConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setenv("WORKSPACE", str(scene.settings.workspace))
    monkeypatch.setenv("THREADS", "1")
    monkeypatch.setattr(retrain, "read_dataset", lambda *_: config)
    yield ["--data", scene.source]


def test_the_command_says_why_it_does_nothing_and_asks_no_second_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(scene, CONFIG, monkeypatch) as argv:
        assert run_command(retrain.main, [*argv, "--check"]) == 0
        assert "24 months before the newest (12 are allowed)" in capsys.readouterr().out
        assert run_command(retrain.main, argv) == 0
        out = capsys.readouterr().out
        assert [line.split()[0] for line in out.splitlines() if line[:3] == "201"] == ["2018-02", "2018-03", "2018-04"]
        assert "\npromoted   the challenger is better: MAE -" in out
        assert run_command(retrain.main, argv) == 0
        assert "\nnot due    the last challenger was promoted on data to 2018-04" in capsys.readouterr().out
    with opened(scene.settings) as engine:
        assert [row["outcome"] for row in rows_of(engine)] == ["promoted"]


def test_a_random_split_is_refused_as_a_mistake(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with environment(scene, load_config("iris"), monkeypatch):
        assert run_command(retrain.main, []) == 2
    assert "`python -m src.pipeline --dataset iris` trains it anew" in capsys.readouterr().err
