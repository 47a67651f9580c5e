"""Floor 1: a raw market file to typed, validated, encoded splits."""
