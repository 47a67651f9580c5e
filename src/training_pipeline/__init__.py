"""Floor 3: fit, tune, evaluate, publish. MLflow lives here only."""
