"""The default dataset has the short paths; the others never write into them."""

from pathlib import Path

from src.core.config import Settings
from src.core.workspace import Workspace


def _outputs(place: Workspace) -> set[Path]:
    return {place.raw, place.processed, place.features, place.model, place.reports, place.predictions}


def test_paths_of_the_default_dataset(tmp_path: Path) -> None:
    place = Workspace.of("housets", Settings(workspace=tmp_path))
    assert place.raw == tmp_path / "data" / "raw"
    assert place.store == tmp_path / "models"
    assert len(_outputs(place)) == 6
    assert not list(tmp_path.iterdir()), "asking for a path makes nothing"


def test_datasets_never_share_an_output(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path)
    default, other, third = (Workspace.of(name, settings) for name in ("housets", "india_rent", "dc_house"))
    assert not _outputs(default) & _outputs(other)
    assert not _outputs(other) & _outputs(third)
    assert default.store == other.store, "the store keeps datasets apart itself"
