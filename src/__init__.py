"""housecast: what a home in this place is worth in this month, how sure we are, and why."""

__version__ = "0.1.0"
