"""What to do about each broken rule, in a sentence that goes with its alert."""

_TRAIN = "train anew, and promote what passes the gate"
_API = "look at GET /stats and the API's log for what fails or is slow"

NEXT = {
    "max_drift_share": f"mend the source if a unit or a code has changed; if the market has moved, {_TRAIN}",
    "max_column_drift": f"mend the source if its unit or codes have changed; if the market has moved, {_TRAIN}",
    "max_unseen_share": "mend the source if they are misspelled; if they are real, train anew with them",
    "max_failed_expectations": "mend the source where the report shows the rows, and run the month again",
    "coverage_tolerance": "train anew: intervals are calibrated on the newest months",
    "max_mdape": f"see which segments are worst; {_TRAIN}",
    "min_accuracy": f"see which classes are mistaken; {_TRAIN}",
    "max_error_rate": _API,
    "max_latency_ms": _API,
    "max_data_age_days": "see whether the batch ran and whether its input has a newer month",
    "max_missing_months": "bring their rows and run `python -m src.batch.run_monthly` for them",
}
