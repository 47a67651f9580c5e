"""Floor 0: the shared nouns. No machine learning and no web."""
