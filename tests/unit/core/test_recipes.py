"""A wrong recipe is explained; the names of features follow from the YAML alone."""

from typing import Any

import pytest

from src.core.errors import ConfigError
from src.core.spelling import slug
from tests.factories import homes_config

ENERGY = {"recipe": "ordinal", "column": "energy", "order": ["B", "A"], "name": "rank"}
STATUS = {"recipe": "one_hot", "column": "status", "values": ["bare"]}
FLOOR = {"recipe": "extract", "column": "floor", "pattern": r"(\d+)", "name": "floor_number"}
LIST = {"recipe": "items", "column": "facilities", "items": ["Bath"]}
PLACE = {"recipe": "distance", "latitude": "lat", "longitude": "lng", "points": {"sf": [37.77, -122.42]}}
TURN = {"recipe": "rotate", "x": "lng", "y": "lat", "degrees": [45]}
YES = {"recipe": "yes_no", "columns": ["balcony"]}


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (ENERGY | {"order": ["A", "B", "A"]}, "features: rank: 'A' is listed twice"),
        (ENERGY | {"column": "status", "order": ["Bare", "bare"]}, "'bare' is listed twice, once the text is cleaned"),
        (ENERGY | {"order": [1, 2]}, "write it in quotes, as it stands in the data, for example '1'"),
        (ENERGY | {"order": [True]}, "write it in quotes"),
        (ENERGY | {"order": []}, "at least 1 item"),
        (ENERGY | {"order": [" "]}, "pattern"),
        (ENERGY | {"column": "lat"}, "'lat' is a number column, and a text column is needed there"),
        (ENERGY | {"column": "day"}, "'day' is a date column, and a text column is needed there"),
        (YES | {"columns": ["balcony", "lng"]}, "'lng' is a number column"),
        (YES | {"no": ["nee", "YES"]}, "features: yes_no: 'YES' is listed twice"),
        (YES | {"columns": ["balcony", "balcony"]}, "name 'balcony' is taken"),
        (STATUS | {"values": ["1+", "1 plus"]}, "name 'status_1_plus' is taken"),
        (STATUS | {"values": ["a", "A"]}, "'A' is listed twice"),
        (FLOOR | {"pattern": r"(?=\d)(\d)"}, "features.*pattern: .*look-around"),
        (FLOOR | {"words": {"ground": float("inf")}}, "finite"),
        (FLOOR | {"words": {0: 1}}, "write it in quotes"),
        (FLOOR | {"decimal": ";"}, "decimal"),
        (LIST | {"items": ["Bath, Lift"]}, "item 'Bath, Lift' holds the separator ','"),
        (LIST | {"separator": "$"}, "separator"),
        (LIST | {"separator": "and"}, "separator"),
        (LIST | {"count": "facilities_bath"}, "name 'facilities_bath' is taken"),
        (PLACE | {"points": {}}, "points"),
        (PLACE | {"points": {"sf": [-122.42, 37.77]}}, "greater than or equal to -90"),
        (PLACE | {"latitude": "floor"}, "'floor' is a text column, and a number column is needed there"),
        (PLACE | {"points": {"a b": [1, 1], "a-b": [2, 2]}}, "name 'km_to_a_b' is taken"),
        (TURN | {"degrees": [180]}, "less than 180"),
        (TURN | {"x": "price"}, "rotate uses 'price', which is the target"),
    ],
)
def test_a_wrong_recipe_is_explained(recipe: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        homes_config(features=[recipe])


def test_yes_and_no_are_words_in_yaml() -> None:
    config = homes_config(features=[YES | {"yes": ["ja"], "no": ["nee"]}])
    assert config.features[0].codes(config.columns["balcony"])["JA"] == 1
    assert homes_config().columns["garage"].renames == {"own garage": "yes"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ocean_proximity_<1H OCEAN", "ocean_proximity_1h_ocean"),
        ("energy_A++", "energy_a_plus_plus"),
        ("Furnishing Status_Semi-Furnished", "furnishing_status_semi_furnished"),
        ("city_São Paulo", "city_são_paulo"),
    ],
)
def test_a_feature_is_named_after_its_value(text: str, name: str) -> None:
    assert slug(text) == name
