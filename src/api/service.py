"""What the routes share."""

import os

from fastapi import Request

from src.api.jobs import Jobs
from src.api.outputs import Outputs
from src.api.served import Models
from src.api.telemetry import Telemetry
from src.api.work import Aside, Work
from src.core.config import Settings
from src.core.store import Store
from src.monitoring.writer import Writer

PRICE_THREADS = 2
# Questions to the store on behalf of requests, at once.
STORE_THREADS = 8


class Service:
    """The parts of one running service."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.models = Models(store, settings)
        self.telemetry = Telemetry()
        self.outputs = Outputs(settings)
        self.jobs = Jobs(settings, on_end=self.outputs.look_again)
        self.log = Writer(settings) if settings.prediction_log else None
        self.aside = Aside(STORE_THREADS)
        self.work = Work(min(PRICE_THREADS, os.cpu_count() or 1), settings.max_in_flight)


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    found: Service = request.app.state.service
    return found
