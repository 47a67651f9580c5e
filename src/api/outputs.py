"""The batch's output of each data set that is served, followed in the predictions store."""

import threading

from src.core.config import DatasetConfig, Settings
from src.core.predictions_store import open_predictions
from src.inference_pipeline.batch_output import BatchOutput
from src.inference_pipeline.predictor import Predictor


class Outputs:
    """Makes a data set's `BatchOutput` when it is first asked for, and anew when its config changes."""

    def __init__(self, settings: Settings) -> None:
        """Check the settings, so that a wrong one ends the start and no request (ConfigError, StoreError)."""
        open_predictions(settings.default_dataset, settings)
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, tuple[DatasetConfig, BatchOutput]] = {}

    def of(self, predictor: Predictor) -> BatchOutput:
        """Return the output of the data set that the predictor prices (StoreError)."""
        config = predictor.config
        with self._lock:
            known, output = self._made.get(config.name, (None, None))
            if output is None or known != config:
                store = open_predictions(config.name, self._settings)
                output = BatchOutput(config, store, self._settings.sync_seconds)
                self._made[config.name] = (config, output)
            return output

    def look_again(self, dataset: str) -> None:
        """Look at the store at the next question about a data set, as it has changed."""
        with self._lock:
            if dataset in self._made:
                self._made[dataset][1].look_again()
