"""A wrong YAML names the file, the key, the value and what is allowed."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.core.config import PROJECT, DatasetConfig, Settings, load_config, parse_config
from src.core.errors import ConfigError

HOUSETS: dict[str, Any] = yaml.safe_load((PROJECT / "configs" / "housets.yaml").read_text(encoding="utf-8"))


def _edited(edit: Callable[[dict[str, Any]], Any]) -> str:
    raw = deepcopy(HOUSETS)
    edit(raw)
    return yaml.safe_dump(raw, sort_keys=False)


@pytest.mark.parametrize("path", sorted((PROJECT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_of_the_project_is_valid(path: Path) -> None:
    config = load_config(path.stem)
    assert config.name == path.stem, "--dataset, the store and the file must say the same name"
    assert config.target.column not in config.raw_inputs


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda raw: raw.update(surprise=1), ["surprise", "Extra inputs are not permitted", "got 1"]),
        (lambda raw: raw.pop("target"), ["target", "Field required"]),
        (lambda raw: raw["target"].update(transform="sqrt"), ["target.transform", "'none' or 'log'", "'sqrt'"]),
        (lambda raw: raw["target"].update(column="prise"), ["target", "'prise' is not among the columns"]),
        (lambda raw: raw.update(name="../x"), ["name", "'../x'"]),
        (lambda raw: raw["split"].update(eval_from="2023-01-01"), ["eval_from 2023-01-01 must be before"]),
        (lambda raw: raw["lookup"].update(max_unmatched=2), ["lookup.max_unmatched", "got 2"]),
        (lambda raw: raw["missing"][0]["columns"].append("nope"), ["missing[0]", "'nope'"]),
        (lambda raw: raw["rows"]["max"].update(nope=1), ["rows", "'nope'"]),
        (lambda raw: raw["segments"].append({"name": "x", "column": "nope"}), ["segments", "'nope'"]),
        (
            lambda raw: raw["features"].append({"recipe": "numbers", "columns": ["price"]}),
            ["numbers uses 'price', which is the target or leaks it"],
        ),
        (
            lambda raw: raw["features"].append({"recipe": "numbers", "columns": ["median_sale_price"]}),
            ["'median_sale_price', which is the target or leaks it"],
        ),
        (
            lambda raw: raw["features"].append({"recipe": "numbers", "columns": ["bank"]}),
            ["name 'bank' is taken"],
        ),
        (lambda raw: raw["features"].append({"recipe": "magic"}), ["features", "magic"]),
        (lambda raw: raw["leakage"].append("median_sale_prise"), ["leakage", "'median_sale_prise'"]),
        (lambda raw: raw["lookup"].update(by="nope"), ["lookup.by", "'nope'"]),
        (lambda raw: raw["source"].update(rename={"a": "nope"}), ["source.rename", "'nope'"]),
        (
            lambda raw: raw["source"].update(files=["a.SQLite"]),
            ["a.SQLite is a database", "`table` or `query`"],
        ),
        (lambda raw: raw["source"].update(default="b.db"), ["source: ", "b.db is a database", "`table` or `query`"]),
        (lambda raw: raw["source"].update(table="a", query="select 1"), ["source: ", "table and query are both given"]),
        (lambda raw: raw["source"].update(table="../a"), ["source.table", "got '../a'"]),
        (
            lambda raw: raw["source"].update(query="delete from a"),
            ["must start with SELECT", "'delete from a'"],
        ),
        (lambda raw: raw["source"].update(query="-- select\ndrop table a"), ["source: ", "must start with SELECT"]),
        (lambda raw: raw["source"].update(query=""), ["source: ", "must start with SELECT"]),
        (lambda raw: raw.update(intervals=[80]), ["intervals", "less than 1", "got 80"]),
        (lambda raw: raw["target"].update(column="city"), ["target: 'city' is a text column", "a number column"]),
        (lambda raw: raw["split"].update(column="year"), ["split.column: 'year' is a number column", "a date column"]),
        (
            lambda raw: raw["features"].append({"recipe": "numbers", "columns": ["city"]}),
            ["features[", "'city' is a text column"],
        ),
        (
            lambda raw: raw["features"].append({"recipe": "frequency", "column": "year", "name": "x"}),
            ["features[", "'year' is a number column", "a text column"],
        ),
        (lambda raw: raw["tuning"]["space"].update(max_depth={"int": [1]}), ["tuning.space.max_depth"]),
    ],
)
def test_a_wrong_config_is_explained(edit: Callable[[dict[str, Any]], Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(_edited(edit), "mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ")
    for word in words:
        assert word in message


RANDOM: dict[str, Any] = {"by": "random", "column": "date"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"eval": 0.5, "holdout": 0.5}, "split.random: .*eval 0.5 and holdout 0.5 leave nothing to train on"),
        ({"stratify": "city", "group": ["zipcode"]}, "stratify and group together are not possible"),
        ({"stratify": "lat"}, "split: 'lat' is not among the columns"),
        ({"group": ["nope"]}, "split: 'nope' is not among the columns"),
        ({"column": None}, r"segments\[1\] \(by month\) needs a date"),
        ({"column": "city"}, "split.column: 'city' is a text column, and a date column is needed"),
        ({"by": "luck"}, "split: .*'luck' .*'time', 'random'"),
        ({"share": 0.1}, "split.random.share: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_random_split_is_explained(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config(_edited(lambda raw: raw.update(split={**RANDOM, **rule})), "mine.yaml")


def test_what_needs_a_date_or_folds_is_refused_where_there_are_none() -> None:
    def undated(raw: dict[str, Any]) -> None:
        raw.update(split={"by": "random"}, segments=[], gate={"beats": ["last_known"]})

    with pytest.raises(ConfigError, match=r"gate.beats \(last_known\) needs a date.*split.column"):
        parse_config(_edited(undated), "mine.yaml")
    with pytest.raises(ConfigError, match=r"place_median\) needs a place, and a split that is random"):
        parse_config(_edited(lambda raw: raw.update(gate={"beats": ["place_median"]})), "mine.yaml")
    with pytest.raises(ConfigError, match=r"tuning\.folds: 1 is too few where the split is random"):
        parse_config(_edited(lambda raw: (raw.update(split=RANDOM), raw["tuning"].update(folds=1))), "mine.yaml")


@pytest.mark.parametrize("rule", [{}, {"group": ["city", "zipcode"]}, {"stratify": "city", "seed": 7}])
def test_a_random_split_reads_back_equal_and_keeps_what_decides_it(rule: dict[str, Any]) -> None:
    config = parse_config(_edited(lambda raw: (raw.pop("keys"), raw.update(split={**RANDOM, **rule}))), "mine.yaml")
    assert config.date == "date"
    assert set(config.drawn_by) <= set(config.meta_columns)
    assert parse_config(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), "b").digest == config.digest


@pytest.mark.parametrize("text", ["", "- a", "just text", "a: [", "a: !!python/object:os.system {}"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml (is not valid YAML|must hold a mapping)"):
        parse_config(text, "mine.yaml")


def test_a_missing_config_lists_the_others(tmp_path: Path) -> None:
    (tmp_path / "lisbon.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"no dataset 'porto': .*porto\.yaml does not exist. Datasets: lisbon"):
        load_config("porto", tmp_path)
    with pytest.raises(ConfigError, match="Datasets: none"):
        load_config("porto", tmp_path / "nowhere")


def test_the_digest_is_of_the_content_not_of_its_layout() -> None:
    same, other = _edited(lambda raw: None), _edited(lambda raw: raw["model"].update(seed=43))
    assert parse_config(same, "a").digest == parse_config("# a comment\n" + same, "b").digest
    assert parse_config(same, "a").digest != parse_config(other, "a").digest


def test_the_config_that_a_bundle_keeps_reads_back_equal(config: DatasetConfig) -> None:
    copied = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    assert parse_config(copied, "bundle").digest == config.digest


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"x\.yaml is not UTF-8"):
        load_config(str(tmp_path / "x.yaml"))


def test_a_key_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml is not valid YAML: the key 'seed' is given twice"):
        parse_config("model:\n  seed: 1\n  seed: 2\n", "mine.yaml")


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"max": {"evil": {"mape": 1}}}, "gate.max: 'evil' is not one of eval, holdout"),
        ({"min": {"eval": {"mapes": 1}}}, "gate.min.eval: 'mapes' is not one of .*mape"),
        ({"max": {"eval": {"coverage_50": 1}}}, "'coverage_50' is not one of .*coverage_80, coverage_95"),
        ({"beats": ["luck"]}, "gate.beats: 'luck' is not one of median, linear, last_known"),
    ],
)
def test_a_gate_that_names_what_is_not_measured_is_refused_before_any_work(gate: dict, said: str) -> None:
    raw = yaml.safe_load((PROJECT / "configs" / "housets.yaml").read_text())
    with pytest.raises(ConfigError, match=said):
        parse_config(yaml.safe_dump({**raw, "gate": gate}), "x.yaml")


def test_yes_and_no_are_words_and_true_and_false_are_not() -> None:
    renames = "{Ja: yes, nee: no, aan: on, uit: 'true'}"
    text = _edited(lambda raw: raw["columns"]["city_full"].pop("renames")).replace(
        "    tidy: true\n", f"    tidy: true\n    renames: {renames}\n"
    )
    column = parse_config(text, "x.yaml").columns["city_full"]
    assert column.tidy is True
    assert column.renames == {"Ja": "yes", "nee": "no", "aan": "on", "uit": "true"}


@pytest.mark.parametrize(
    "query", ["select 1", " SELECT 1;", "-- why\n/* two\nlines */ (select 1)", "with a as (select 1) select * from a"]
)
def test_a_query_may_begin_with_comments_and_brackets(query: str) -> None:
    assert parse_config(_edited(lambda raw: raw["source"].update(query=query)), "a").source.query == query


def test_an_address_with_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="default: an address with a user or password") as caught:
        parse_config(_edited(lambda raw: raw["source"].update(default="postgresql://jane:hidden@host/db")), "mine.yaml")
    assert "hidden" not in str(caught.value)


def test_the_database_of_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQL_URL", "postgresql://jane:hidden@host/db")
    settings = Settings()
    assert settings.sql_url is not None
    assert settings.sql_url.get_secret_value().startswith("postgresql://jane")
    assert "hidden" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
