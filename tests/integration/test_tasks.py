"""A forest of prices and a model of classes go through every stage, into the store and back out to answers."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from src import pipeline
from src.core.cli import run_command
from src.core.config import PROJECT, DatasetConfig, Settings, load_config
from src.core.errors import GateError
from src.core.store import open_store
from src.core.workspace import Workspace
from src.inference_pipeline.inference import current_predictor
from src.inference_pipeline.predictor import Classification, Prediction, Predictor
from src.training_pipeline import eval as evaluation
from src.training_pipeline import train

FOREST = {
    "name": "rents",
    "title": "Made-up rents",
    "source": {"files": ["rows.csv"]},
    "columns": {"rooms": "number", "area": "number", "kind": "text", "rent": {"type": "number", "min": 0}},
    "target": {"column": "rent", "unit": "EUR", "label": "monthly rent"},
    "split": {"by": "random", "seed": 3},
    "features": [{"recipe": "numbers", "columns": ["rooms", "area"]}],
    "model": {"family": "random_forest", "params": {"n_estimators": 20}},
    "families": {"straight": {"family": "linear"}},
    "intervals": [0.8],
    "gate": {"beats": ["median"]},
}
CLASSES = {
    **FOREST,
    "name": "kinds",
    "title": "Made-up kinds of homes",
    "target": {"column": "kind", "label": "kind of home", "classes": ["flat", "house", "villa"]},
    "task": "classification",
    "split": {"by": "random", "seed": 3, "stratify": "kind"},
    "features": [{"recipe": "numbers", "columns": ["rooms", "area"]}],
    "model": {"max_rounds": 30, "params": {"max_depth": 3, "learning_rate": 0.3}},
    "families": {},
    "tuning": {"metric": "log_loss", "trials": 1, "folds": 2, "space": {"max_depth": {"int": [2, 4]}}},
    "gate": {"min": {"holdout": {"accuracy": 0.7}}, "beats": ["majority"]},
}


def rows(n: int = 400) -> pl.DataFrame:
    draw = np.random.default_rng(5)
    kind = draw.integers(0, 3, n)
    rooms, area = 1 + kind + draw.integers(0, 2, n), 30 + 50 * kind + draw.uniform(0, 40, n).round(1)
    rent = (200 + 10 * area + 50 * rooms + draw.normal(0, 20, n)).round()
    return pl.DataFrame(
        {"rooms": rooms, "area": area, "kind": np.array(["flat", "house", "villa"])[kind], "rent": rent}
    )


@dataclass(frozen=True)
class Made:
    """A made-up data set that went through every stage."""

    config: DatasetConfig
    yaml: Path
    settings: Settings
    space: Workspace

    def stages(self) -> list[pipeline.Stage]:
        return pipeline.stages_of(self.config, self.settings, open_store(None, self.settings, self.space.store))

    @property
    def predictor(self) -> Predictor:
        return current_predictor(open_store(None, self.settings, self.space.store), self.config.name, self.settings)

    def bundle(self) -> Path:
        return next((self.space.root / "models").rglob("manifest.json")).parent


def _made(content: dict[str, Any], root: Path, frame: pl.DataFrame | None = None) -> Made:
    path = root / f"{content['name']}.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    (rows() if frame is None else frame).write_csv(root / "rows.csv")
    config, settings = load_config(str(path)), Settings(workspace=root, data_root=root, threads=1)
    made = Made(config, path, settings, Workspace.of(config.name, settings))
    pipeline.run_stages(made.stages(), config, made.space.stages)
    return made


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _made(FOREST, tmp_path_factory.mktemp("forest"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _made(CLASSES, tmp_path_factory.mktemp("classes"))


def test_a_forest_is_published_and_answers_with_reasons(forest: Made) -> None:
    assert sorted(path.name for path in forest.space.model.iterdir()) == ["model.skops", "train.json"]
    holdout, predictor = pl.read_parquet(forest.space.raw / "holdout.parquet"), forest.predictor
    said = predictor.predict(holdout)
    assert isinstance(said, Prediction)
    assert np.median(np.abs(said.estimate / holdout["rent"].to_numpy() - 1)) < 0.05
    why = predictor.explain(holdout.head(7))
    np.testing.assert_allclose(why.base + why.amounts.sum(axis=1), said.estimate[:7], rtol=1e-12)
    one = predictor.predict([{"rooms": 2, "area": 50.0}])
    assert isinstance(one, Prediction)
    assert 0 < one.lower[0.8][0] < one.estimate[0] < one.upper[0.8][0]
    batch = pl.read_parquet(forest.space.predictions / "preds_all.parquet")
    assert batch["predicted_rent"].to_list() == said.estimate.tolist()
    assert batch["actual_rent"].to_list() == holdout["rent"].to_list()
    card = (forest.bundle() / "model_card.md").read_text()
    assert "random_forest on 2 features, target transform `none`." in card


@pytest.mark.parametrize("task", ["forest", "classes"])
def test_a_second_run_skips_every_stage(task: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(task)
    stamps = {path: path.stat().st_mtime_ns for path in made.space.stages.iterdir()}
    assert len(stamps) == len(made.stages())
    pipeline.run_stages(made.stages(), made.config, made.space.stages)
    assert {path: path.stat().st_mtime_ns for path in made.space.stages.iterdir()} == stamps


def test_without_a_search_space_trials_are_an_error_and_no_stage(
    forest: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "tune" not in [stage.name for stage in forest.stages()]
    settings = {"WORKSPACE": str(forest.space.root), "DATA_ROOT": str(forest.space.root)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        assert run_command(pipeline.main, ["--dataset", str(forest.yaml), "--trials", "3"]) == 2
    assert "tuning.space is empty" in capsys.readouterr().err


def test_classes_are_published_and_answered_with_probabilities_and_reasons(classes: Made) -> None:
    holdout, predictor = pl.read_parquet(classes.space.raw / "holdout.parquet"), classes.predictor
    said = predictor.predict(holdout)
    assert isinstance(said, Classification)
    assert said.labels == [said.classes[i] for i in said.probabilities.argmax(axis=1)]
    assert (pl.Series(said.labels) == holdout["kind"]).mean() > 0.8
    why = predictor.explain(holdout.head(7))
    chosen = said.probabilities.max(axis=1)[:7]
    np.testing.assert_allclose(why.base + why.amounts.sum(axis=1), chosen, rtol=1e-9)
    one = predictor.predict([{"rooms": 1, "area": 40.0}])
    assert isinstance(one, Classification)
    assert one.labels == ["flat"]
    batch = pl.read_parquet(classes.space.predictions / "preds_all.parquet")
    added = ["predicted_kind", "probability_flat", "probability_house", "probability_villa", "flags"]
    assert batch.columns == ["rooms", "area", *added, "actual_kind", "model_version"]
    assert batch["actual_kind"].to_list() == holdout["kind"].to_list()


def test_what_is_written_of_classes_speaks_of_classes(classes: Made) -> None:
    card = (classes.bundle() / "model_card.md").read_text()
    assert "Gives the probability of each kind of home (flat, house, villa) of a row" in card
    page = (classes.space.reports / "evaluation" / "index.html").read_text().split("<h2>Plots")[0]
    for text in (card, page, (classes.space.reports / "summary.txt").read_text()):
        for wrong in ("USD", "Interval", "intervals", "ratio", "apprais", "sales", "price", "transform", "None", "nan"):
            assert wrong not in text
    scores = json.loads((classes.bundle() / "metrics.json").read_text())
    for split in ("eval", "holdout"):
        assert set(scores[split]["scores"]) == {"accuracy", "f1", "log_loss"}
        assert np.sum(scores[split]["confusion"]) == scores[split]["n"]
    assert [line["name"] for line in scores["gate"]["lines"]] == ["holdout accuracy", "eval log_loss beside majority"]


def test_another_family_is_trained_judged_and_published_and_the_pipeline_returns_to_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _made(FOREST, tmp_path)
    for name, value in (("WORKSPACE", str(tmp_path)), ("DATA_ROOT", str(tmp_path)), ("THREADS", "1")):
        monkeypatch.setenv(name, value)
    # What a search for another family has left is not for this one.
    (made.space.model / "params.json").write_text(json.dumps({"model": "random_forest", "params": {"max_depth": 1}}))
    assert run_command(train.main, ["--dataset", str(made.yaml), "--family", "xgboost"]) == 0
    assert not (made.space.model / "model.skops").exists()
    assert run_command(train.main, ["--dataset", str(made.yaml), "--family", "straight"]) == 0
    assert not (made.space.model / "model.ubj").exists()
    assert run_command(evaluation.main, ["--dataset", str(made.yaml)]) == 0
    assert made.predictor.config.model.variant == "straight"
    (made.space.model / "params.json").unlink()
    with pytest.raises(GateError, match="beside the current"):  # these rents lie on a straight line
        pipeline.run_stages(made.stages(), made.config, made.space.stages)
    assert json.loads((made.space.model / "train.json").read_text())["family"] == "random_forest"


def test_no_rent_is_below_the_least_and_reasons_add_up_to_what_is_left(tmp_path: Path) -> None:
    bent = rows().with_columns(rent=10 * (pl.col("area") - 60).clip(1, None))
    made = _made({**FOREST, "name": "bent", "model": {"family": "linear"}}, tmp_path, bent)
    said = made.predictor.predict(bent)
    assert isinstance(said, Prediction)
    assert (said.estimate == 0).sum() > 20  # where a straight line goes below 0
    assert min(said.estimate.min(), said.lower[0.8].min()) == 0
    assert (said.lower[0.8] <= said.estimate).all()
    why = made.predictor.explain(bent)
    np.testing.assert_allclose(why.base + why.amounts.sum(axis=1), said.estimate, atol=1e-9)
    batch = pl.read_parquet(made.space.predictions / "preds_all.parquet")
    mae = float(np.mean(np.abs(batch["predicted_rent"].to_numpy() - batch["actual_rent"].to_numpy())))
    scores = json.loads((made.bundle() / "metrics.json").read_text())
    assert scores["holdout"]["scores"]["mae"] == pytest.approx(mae)  # what is evaluated is what is served


BLOCKED = """
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("sklearn", "skops"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
from src.core.errors import BundleError
from src.inference_pipeline.predictor import Predictor

try:
    print(Predictor.load(Path(sys.argv[1])).predict([{"rooms": 1, "area": 40.0}]).labels)
except BundleError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("task", "said"), [("classes", "['flat']"), ("forest", "needs scikit-learn and skops: install the extra")]
)
def test_only_scikit_learns_models_need_scikit_learn_to_serve(
    task: str, said: str, request: pytest.FixtureRequest
) -> None:
    made: Made = request.getfixturevalue(task)
    command = [sys.executable, "-c", BLOCKED, str(made.bundle())]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
