"""The service: prices over HTTP, from the current versions of a model store."""
