"""Found first on PYTHONPATH by servers that tests start: as in a serving image, training's packages are not there.

Importing xgboost takes twice as long where it finds them.
"""

import sys

for name in ("sklearn", "pandas"):
    sys.modules[name] = None  # type: ignore[assignment]
