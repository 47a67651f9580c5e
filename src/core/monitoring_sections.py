"""The parts of a dataset's YAML that keep a served model honest: when to tell somebody, and when to train anew."""

from pydantic import Field, model_validator

from src.core.sections import Section


class Monitoring(Section):
    """Rules of `monitoring.check`: beyond a limit, an alert is opened. None turns a rule off."""

    reference_months: int = Field(
        12, ge=1, description="drift is measured against so many of the newest months of the bundle's reference"
    )
    drift_distance: float = Field(
        0.2, gt=0, description="a column has drifted from this distance on, in Evidently's measure for its kind"
    )
    max_drift_share: float | None = Field(0.5, gt=0, le=1, description="share of columns that may have drifted")
    max_column_drift: float | None = Field(1.0, gt=0, description="distance that no single column may reach")
    max_unseen_share: float | None = Field(
        0.02, ge=0, le=1, description="share of rows with a place or category that the model never saw"
    )
    max_failed_expectations: int | None = Field(0, ge=0, description="critical expectations that a month may fail")
    coverage_tolerance: float | None = Field(
        0.1, gt=0, lt=1, description="how far an interval's coverage may be from its nominal one"
    )
    max_mdape: float | None = Field(0.15, gt=0, description="largest median absolute percentage error")
    min_accuracy: float | None = Field(0.8, gt=0, le=1, description="of classes: smallest share that is right")
    max_error_rate: float | None = Field(0.01, ge=0, le=1, description="share of the API's requests that may fail")
    max_latency_ms: float | None = Field(500, gt=0, description="95th percentile of the API's answers")
    hours: int = Field(24, ge=1, description="the API's requests of so many hours back are looked at")
    max_data_age_days: int | None = Field(
        75, ge=1, description="days since the end of the newest month that predictions are of"
    )
    max_missing_months: int | None = Field(
        0, ge=0, description="months without predictions between the first and the newest that have some"
    )
    min_rows: int = Field(30, ge=1, description="fewer rows breach nothing: they say too little")


# Those whose breach opens an alert, named as their limits are.
RULES = (
    *(name for name in Monitoring.model_fields if name.startswith(("max_", "min_")) and name != "min_rows"),
    "coverage_tolerance",
)


class Retraining(Section):
    """When a challenger is trained, and how much better than the champion it has to be."""

    every_months: int = Field(12, ge=1, description="due when the champion's training data end so long ago")
    after: tuple[str, ...] = Field(
        ("max_mdape", "coverage_tolerance", "max_unseen_share"), description="rules whose open alert makes it due"
    )
    wait_months: int = Field(2, ge=0, description="months of data after the last decision before the next one")
    judged_months: int = Field(3, ge=1, description="newest months, unseen in training, that both are judged on")
    eval_months: int = Field(
        6, ge=1, description="months before those, which calibrate the challenger's intervals; it trains on all earlier"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="of the interval of the difference in error")

    @model_validator(mode="after")
    def _rules_exist(self) -> "Retraining":
        for name in self.after:
            if name not in RULES:
                raise ValueError(f"after: {name!r} is no rule of `monitoring` ({', '.join(RULES)})")
        return self
