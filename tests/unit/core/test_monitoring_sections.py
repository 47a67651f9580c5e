"""The rules of monitoring and retraining in a data set's YAML."""

import pytest
from pydantic import ValidationError

from src.core.config import load_config
from src.core.monitoring_sections import RULES, Monitoring, Retraining


def test_each_limit_is_a_rule_and_may_be_turned_off() -> None:
    quiet = Monitoring(**dict.fromkeys(RULES))
    assert all(getattr(quiet, rule) is None for rule in RULES)
    assert "min_rows" not in RULES


def test_retraining_names_rules_that_exist() -> None:
    assert set(Retraining().after) <= set(RULES)
    with pytest.raises(ValidationError, match=r"after: 'mdape' is no rule of `monitoring` \(max_drift_share, "):
        Retraining(after=("mdape",))


def test_a_data_set_says_its_own_limits_and_keeps_the_others() -> None:
    own = load_config("housets").monitoring
    assert own.max_column_drift == 5
    assert own.max_unseen_share == Monitoring().max_unseen_share
