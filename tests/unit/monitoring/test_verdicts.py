"""A month against its rules: within, beyond, or too little to say."""

from src.core.monitoring_sections import Monitoring
from src.monitoring.measures import Measure
from src.monitoring.verdicts import verdicts

LIMITS = Monitoring(max_mdape=0.1, max_column_drift=1.0, coverage_tolerance=0.05, min_rows=30)


def states(*found: Measure, limits: Monitoring = LIMITS, **options: bool) -> dict[str, str]:
    return {f"{one.rule} {one.subject}".strip(): one.state for one in verdicts(found, limits, **options)}


def test_each_rule_is_judged_by_its_measure() -> None:
    said = states(
        Measure("drift_share", 0.6, 100),
        Measure("unseen_share", 0.02, 100),
        Measure("failed_expectations", 1, 100),
        Measure("mdape", 0.09, 100),
        Measure("drift", 0.4, 100, "column=a"),
        Measure("drift", 1.4, 100, "column=b"),
        Measure("coverage_80", 0.76, 100),
        Measure("coverage_95", 0.89, 100),
        Measure("mdape", 9.0, 100, "metro=boston"),
        Measure("data_age_days", 76, 100),
    )
    assert said == {
        "max_drift_share": "beyond its limit",
        "max_unseen_share": "ok",
        "max_failed_expectations": "beyond its limit",
        "max_mdape": "ok",
        "max_data_age_days": "beyond its limit",
        "max_column_drift b": "beyond its limit",
        "coverage_tolerance coverage_80": "ok",
        "coverage_tolerance coverage_95": "beyond its limit",
    }


def test_few_rows_breach_nothing_and_a_measure_that_is_missing_says_so() -> None:
    said = verdicts([Measure("drift_share", 1.0, 29)], LIMITS)
    assert [(one.rule, one.state, one.value) for one in said] == [
        ("max_drift_share", "not enough data", 1.0),
        ("max_mdape", "not enough data", None),
        ("max_column_drift", "not enough data", None),
    ]
    assert said[0].text == "100% of the columns drifted, 50% may (29 rows)"


def test_a_rule_that_is_off_is_left_out_and_age_is_asked_of_the_newest_month() -> None:
    off = LIMITS.model_copy(update={"max_mdape": None, "max_column_drift": None, "max_drift_share": None})
    age = Measure("data_age_days", 400, 100)
    assert states(age, Measure("drift_share", 1, 100), limits=off) == {"max_data_age_days": "beyond its limit"}
    assert states(age, limits=off, is_newest=False) == {}


def test_accuracy_has_a_lower_limit() -> None:
    assert states(Measure("accuracy", 0.7, 100), limits=Monitoring(max_column_drift=None)) == {
        "min_accuracy": "beyond its limit"
    }
