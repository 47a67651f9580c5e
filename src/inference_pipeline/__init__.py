"""Floor 2: raw rows to prices, the same way in a file, a batch and a request."""
