"""Plain numbers of a data set's requests since the start, for people and scripts without Prometheus."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from src.api.front import Call

# Percentiles are of the newest so many requests.
RECENT = 1_000
PERCENTILES = (50, 95, 99)


@dataclass(slots=True)
class Stats:
    """One data set's requests: `refused` were the caller's fault (4xx), `failed` ours (5xx)."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    predictions: int = 0  # rows
    last_at: datetime | None = None  # of the newest request that was priced
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, call: "Call", seconds: float) -> None:
        """Count a request that has ended."""
        self.requests += 1
        if call.status >= 500:
            self.failed += 1
        elif call.status >= 400:
            self.refused += 1
        elif call.rows:
            self.predictions += call.rows
            self.last_at = call.at
            self.milliseconds.append(1000 * seconds)

    def summary(self) -> dict[str, Any]:
        """Return the numbers; latencies in milliseconds are None until something was priced."""
        taken = np.array(self.milliseconds)
        latency = {f"p{one}": round(float(np.percentile(taken, one)), 3) if len(taken) else None for one in PERCENTILES}
        return {
            "requests": self.requests,
            "predictions": self.predictions,
            "last_prediction": self.last_at,
            "refused": self.refused,
            "failed": self.failed,
            "error_rate": self.failed / self.requests if self.requests else 0.0,
            "milliseconds": latency,
        }
