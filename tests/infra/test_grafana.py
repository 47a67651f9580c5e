"""`infra/grafana`: dashboard and alerting rules ask for what a running service tells, and people can read them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from src.core.config import PROJECT, Settings
from tests.infra.promql import Query
from tests.integration.test_api_log import tensors_of
from tests.once import made_once
from tests.serving import KEYS, READ, client_of, load_small, make_small

FOLDER = PROJECT / "infra" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "housecast.json").read_text())
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OPERATIONS = (PROJECT / "docs" / "operations.md").read_text()
# Grafana's units that the panels use, which its own code lists.
UNITS = {"reqps", "percentunit", "s", "short", "rowsps", "bytes", "dateTimeFromNow"}
SECONDS = re.compile(r"\d+[smhd]")


class Told:
    """What a service tells at /metrics: names with their labels, and which values the labels have."""

    def __init__(self, text: str) -> None:
        # Prometheus makes `up` itself.
        self.labels: dict[str, frozenset[str]] = {"up": frozenset()}
        self.values: dict[tuple[str, str], set[str]] = {("up", "job"): {"housecast"}}
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                self.labels[one.name] = frozenset(one.labels)
                for label, value in one.labels.items():
                    self.values.setdefault((one.name, label), set()).add(value)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Told]:
    """Scrape a service with a prediction log that has been asked for prices in both ways, and refused some."""
    small = load_small(made_once(tmp_path_factory, worker_id, "small", make_small))
    settings = Settings(
        model_store=str(small.store.root),
        workspace=tmp_path_factory.mktemp("grafana"),
        api_keys=SecretStr(KEYS),
        prediction_log=True,
    )
    rows = [{**row, "date": str(row["date"])[:10]} for row in small.rows[:3]]
    with client_of(settings) as client:
        assert client.post("/predict", json=rows, headers=READ).status_code == 200
        assert client.post("/datasets/housets/predict", json=rows, headers=READ).status_code == 200
        assert client.post("/v2/models/housets/infer", json=tensors_of(rows), headers=READ).status_code == 200
        assert client.post("/predict", json=[{}], headers=READ).status_code == 422
        yield Told(client.get("/metrics", headers=READ).text)


def queries() -> dict[str, str]:
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in PANELS:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


@pytest.mark.parametrize("name", queries())
def test_an_expression_asks_for_what_there_is(name: str, told: Told) -> None:
    query = Query(queries()[name], told.labels)
    assert query.metrics
    for one in query.matchers:
        if one.value.startswith("$") or one.label == "status":  # chosen by the reader; a 5xx is not made to order
            continue
        there = told.values[one.metric, one.label]
        pattern = one.value if one.operator in ("=~", "!~") else re.escape(one.value)
        assert any(re.fullmatch(pattern, value) for value in there), f"{one.label} is one of {sorted(there)}"


def test_every_metric_of_ours_is_shown_or_watched(told: Told) -> None:
    asked = {metric for text in queries().values() for metric in Query(text, told.labels).metrics}

    def of_families(names: Iterable[str]) -> set[str]:
        return {re.sub(r"_(total|bucket|count|sum|created)$", "", one) for one in names if one.startswith("housecast_")}

    assert of_families(asked) == of_families(told.labels)
    explained = of_families(re.findall(r"`(housecast_\w+)`", OPERATIONS))
    assert of_families(told.labels) == explained, "docs/operations.md explains each, and no other"


def test_a_panel_says_what_it_shows_in_which_unit(told: Told) -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        for target in panel["targets"]:
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            labels = Query(target["expr"], told.labels).labels
            assert used <= labels, f"{panel['title']}: the legend names a label that is not there"
            assert len(panel["targets"]) > 1 or labels <= used | {"job"} | {"instance"}, "lines can be told apart"


def test_panels_lie_side_by_side() -> None:
    cells = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own


def test_the_dashboard_can_be_provisioned_and_asks_for_the_data_set(told: Told) -> None:
    assert (DASHBOARD["uid"], DASHBOARD.get("id"), "__inputs" in DASHBOARD) == ("housecast", None, False)
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variables["dataset"]["query"]["query"]).groups()  # type: ignore[union-attr]
    assert told.values[metric, label] == {"housets"}
    assert variables["source"]["type"] == "datasource"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == set(variables)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_what_prometheus_reads_and_says_what_to_do(rule: Mapping[str, Any], told: Told) -> None:
    assert set(rule) <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
    assert re.fullmatch(r"Housecast[A-Z]\w+", rule["alert"])
    assert SECONDS.fullmatch(rule.get("for", "0s"))
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    text = json.dumps(rule["annotations"])
    used = set(re.findall(r"\$labels\.(\w+)", text))
    assert used <= Query(rule["expr"], told.labels).labels, "a message names a label that is not there"
    left = re.sub(r"\{\{ (\$labels\.\w+|\$value( \| humanize(Percentage|Duration)?)?) \}\}", "", text)
    assert "{{" not in left
    assert "}}" not in left


def test_rules_are_named_once_and_prometheus_is_told_of_them() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names))
    said = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert all((FOLDER / name).is_file() for name in said["rule_files"])
    (job,) = said["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("housecast", "/metrics")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("housecast_none", "there is no metric"),
        ('housecast_requests_total{colour="red"}', "has no label colour"),
        ("rate(housecast_requests_in_flight[5m])", "does not count"),
        ("rate(housecast_requests_total)", "arguments like these"),
        ("housecast_requests_total[5m]", "nothing sums up"),
        ("rate(housecast_requests_total[5 minutes])", "no range"),
        ("sum by (version) (housecast_requests_total)", "has not"),
        ("sum by (dataset) (housecast_requests_total) / sum(housecast_requests_total)", "match nothing"),
        ("histogram_quantile(0.95, sum(rate(housecast_request_seconds_bucket[5m])))", "arguments like these"),
        ("sum(housecast_requests_total", "expected"),
        ("sum(housecast_requests_total))", "not understood"),
    ],
)
def test_what_prometheus_would_refuse_is_found(text: str, said: str, told: Told) -> None:
    with pytest.raises(ValueError, match=said):
        Query(text, told.labels)
