"""What performance claims rest on: each module prints one table; `--smoke` proves in seconds that it runs."""
