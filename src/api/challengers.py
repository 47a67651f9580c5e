"""The newest version in staging of each data set: what shadow mode runs beside the version that serves."""

import logging
from collections.abc import Mapping
from threading import Lock

from src.api.sync import log_error
from src.api.version import Cache, Served, load
from src.core.config import Settings
from src.core.store import Store

logger = logging.getLogger(__name__)


class Challengers:
    """Followed in the store as the current versions are, if SHADOW_SHARE is above 0; nobody waits for one."""

    def __init__(self, store: Store, settings: Settings, cache: Cache, loading: Lock) -> None:
        self._store = store
        self._settings = settings
        self._cache = cache
        self._loading = loading  # held while a version is loaded
        self._served: Mapping[str, Served] = {}
        self._failed: dict[str, str] = {}  # not tried again, until another one is in staging

    def get(self, dataset: str) -> Served | None:
        """Return a data set's challenger."""
        return self._served.get(dataset)

    def look(self, dataset: str) -> None:
        """Bring a data set's challenger to what the store says."""
        if not self._settings.shadow_share:
            return
        version = None
        try:
            story = self._store.story(dataset)
            version = story.newest("staging", [event.version for event in story.events])
            now = self._served.get(dataset)
            if version is None:
                self._served = {name: one for name, one in self._served.items() if name != dataset}
            elif version not in (now and now.version, self._failed.get(dataset)):
                folder = self._cache.fetch(self._store, dataset, version)
                with self._loading:
                    made = load(folder, dataset, self._settings)
                self._served = {**self._served, dataset: made}
                logger.info("%s: %s runs beside the version that serves", dataset, version)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with it, the version that serves goes on)
            log_error(error, f"{dataset}: no challenger can be run")
            if version:
                self._failed[dataset] = version
