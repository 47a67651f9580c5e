"""Where the stages of one dataset read and write."""

from dataclasses import dataclass
from pathlib import Path

from src.core.config import Settings

SPLITS = ("train", "eval", "holdout")


@dataclass(frozen=True)
class Workspace:
    """The folders of one dataset. The default dataset has the short paths, the others a folder of their own."""

    root: Path
    dataset: str
    is_default: bool = True

    @classmethod
    def of(cls, dataset: str, settings: Settings) -> "Workspace":
        return cls(settings.workspace, dataset, dataset == settings.default_dataset)

    def _folder(self, name: str) -> Path:
        base = self.root / name
        return base if self.is_default else base / self.dataset

    @property
    def raw(self) -> Path:
        """Typed splits: `{train,eval,holdout}.parquet`, `load.json` (source, fingerprint, row counts)."""
        return self._folder("data") / "raw"

    @property
    def processed(self) -> Path:
        """Cleaned splits and `preprocess.json` (what each rule took)."""
        return self._folder("data") / "processed"

    @property
    def features(self) -> Path:
        """Feature splits, `encoders.pkl` and `features.json`."""
        return self._folder("data") / "features"

    @property
    def model(self) -> Path:
        """The candidate being built: tuned parameters, `model.ubj`, `train.json`."""
        return self._folder("data") / "model"

    @property
    def stages(self) -> Path:
        """What each stage last ran on, so that an unchanged one can be skipped."""
        return self._folder("data") / ".stages"

    @property
    def downloads(self) -> Path:
        """Raw files that were fetched or simulated."""
        return self._folder("data") / "downloads"

    @property
    def reports(self) -> Path:
        return self._folder("reports")

    @property
    def predictions(self) -> Path:
        """The monthly batch's output."""
        return self._folder("predictions")

    @property
    def store(self) -> Path:
        """The default model store; it keeps the datasets apart itself."""
        return self.root / "models"
