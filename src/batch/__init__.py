"""Floor 3: the monthly batch."""
