"""Measurements. Each module is a command, `python -m benchmarks.NAME`, that writes its JSON to `results/`."""
