"""Where a published version came from, read from its bundle and from the store's record of moves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from src.core.errors import BundleError
from src.core.metrics import LABELS_OF
from src.core.stages import Event
from src.core.store import Store
from src.core.tables import cells, table

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "not recorded"
LABELS = {name: label for labels in LABELS_OF.values() for name, label in labels.items()}


def of(store: Store, dataset: str, version: str) -> dict[str, Any]:
    """Return a version's lineage as JSON-safe content; null where an old bundle does not say.

    Raises:
        StoreError: no such version, or the record of moves is damaged.
        BundleError: the manifest or `metrics.json` is altered, or is not JSON of the known shape.
    """
    manifest, story = store.manifest(dataset, version), store.story(dataset)
    judged = metrics_of(store, dataset, version)
    training = _section(judged, "training")
    data = _section(training, "data")
    return {
        "dataset": dataset,
        "version": version,
        "stage": story.stage(version),
        "created": manifest.created.isoformat(),
        "git_commit": manifest.git_commit,
        "data": {
            "fingerprint": manifest.data_fingerprint,
            **{name: data.get(name) for name in ("source", "rows", "splits")},
            "trained_on": training.get("rows"),
        },
        "config": {
            "sha256": training.get("config_sha256"),
            "trained_sha256": training.get("trained_config_sha256"),
            "file_sha256": manifest.files["config.yaml"].sha256,
        },
        "family": training.get("family"),
        "variant": training.get("variant"),
        "parameters": training.get("params"),
        "rounds": training.get("rounds"),
        "seed": training.get("seed"),
        "mlflow_run_id": training.get("run_id"),
        "training": training or None,
        "scores": {split: _card(card) for split, card in judged.items() if _is_card(card)},
        "gate": _section(judged, "gate") or None,
        "packages": manifest.packages,
        "signed": manifest.signature is not None,
        "moves": [event.model_dump(mode="json") for event in story.of(version)],
    }


def config_of(store: Store, dataset: str, version: str) -> str:
    """Return the YAML that made a version (BundleError when it is altered)."""
    try:
        return store.read(dataset, version, "config.yaml").decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{store}/{dataset}/{version}/config.yaml is not text ({error}): publish again") from error


def tables(lineage: Mapping[str, Any]) -> "Iterator[Table]":
    """Lay a lineage out for a terminal: the facts, the scores beside the baselines', the moves."""
    facts = table(f"{lineage['dataset']} {lineage['version']}", "", "")
    facts.show_header = False
    for name, value in _facts(lineage):
        facts.add_row(*cells(name, UNKNOWN if value in (None, "") else str(value)))
    yield facts
    for split, card in lineage["scores"].items():
        yield _scores(split, card)
    yield moves("Moves, the latest first", [Event.model_validate(event) for event in lineage["moves"]])


def moves(title: str, events: Sequence[Event]) -> "Table":
    """Lay out moves for a terminal."""
    made = table(title, "version", "stage", "when", "by", "why")
    for event in events:
        made.add_row(*cells(event.version, event.stage, f"{event.at:%Y-%m-%d %H:%M}", event.by, event.why))
    return made


def metrics_of(store: Store, dataset: str, version: str) -> dict[str, Any]:
    """Return a version's `metrics.json` (BundleError when it is altered, or is not JSON of the known shape)."""
    where = f"{store}/{dataset}/{version}/metrics.json"
    try:
        found = json.loads(store.read(dataset, version, "metrics.json"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is not JSON ({error}): publish the model again") from error
    if not isinstance(found, dict):
        raise BundleError(f"{where} is not a JSON object: publish the model again")
    return found


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _listed(content: Mapping[str, Any], name: str) -> list[Any]:
    found = content.get(name)
    return found if isinstance(found, list) else []


def _is_card(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("scores"), dict)


def _card(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: content.get(name) for name in ("n", "first", "last", "scores", "baselines")}


def _facts(lineage: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    data, config = lineage["data"], lineage["config"]
    yield "stage", lineage["stage"]
    yield "created", lineage["created"]
    yield "git commit", lineage["git_commit"]
    yield "data source", data["source"]
    yield "fingerprint", data["fingerprint"]
    yield "rows", _rows(data)
    yield "config digest", config["sha256"] or f"{config['file_sha256']} (of the file)"
    if config["trained_sha256"]:
        yield "trained with", config["trained_sha256"]
    yield "family", f"{lineage['family']} ({lineage['variant']})" if lineage["variant"] else lineage["family"]
    yield "parameters", _pairs(lineage["parameters"])
    yield "rounds", lineage["rounds"]
    yield "seed", lineage["seed"]
    yield "MLflow run", lineage["mlflow_run_id"]
    yield "gate", _gate(lineage["gate"])
    yield "packages", _pairs(lineage["packages"])
    yield "signed", "yes" if lineage["signed"] else "no"


def _rows(data: Mapping[str, Any]) -> str:
    parts = [f"{_number(data['rows'])} loaded"] if data["rows"] is not None else []
    if isinstance(data["splits"], dict):
        parts += [f"{name} {_number(rows)}" for name, rows in data["splits"].items()]
    return ", ".join([*parts, f"{_number(data['trained_on'])} trained on"] if data["trained_on"] is not None else parts)


def _gate(gate: Mapping[str, Any] | None) -> str:
    if gate is None:
        return ""
    lines = [line for line in _listed(gate, "lines") if isinstance(line, dict)]
    failed = [line for line in lines if not line.get("passed")]
    said = [f"passed, {len(lines)} lines" if gate.get("passed") else f"FAILED on {len(failed)} of {len(lines)} lines"]
    said += [
        f"{f.get('name')} {_number(f.get('value'))}, not {f.get('sense')} {_number(f.get('limit'))}" for f in failed
    ]
    return "; ".join([*said, *map(str, _listed(gate, "notes"))])


def _scores(split: str, card: Mapping[str, Any]) -> "Table":
    beside = {name: found for name, found in _section(card, "baselines").items() if isinstance(found, dict)}
    # A data set without dates has no first and last.
    days = f": {card['first']} to {card['last']}" if card.get("first") else ""
    made = table(f"{split}{days}", "", "model", *beside)
    for column in made.columns[1:]:
        column.justify = "right"
    columns = [_section(card, "scores"), *(_section(found, "scores") for found in beside.values())]
    made.add_row(*cells("rows", *(_number(found.get("n")) for found in (card, *beside.values()))))
    for name in columns[0]:
        made.add_row(*cells(LABELS.get(name, name), *(_number(column.get(name)) for column in columns)))
    return made


def _pairs(content: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(content.items())) if isinstance(content, dict) else ""


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
