"""A plain FastAPI: the raw rows of a request in a pandas frame, the features in pandas, XGBoost's own prediction.

The endpoint is `async`: a thread for each request, which `def` would take, makes it slower at every load here.
"""

import os
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from benchmarks.peers.priced import priced

answer = priced(Path(os.environ["SERVED_FOLDER"]))
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
async def predict(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {"predictions": answer(rows).tolist()}
