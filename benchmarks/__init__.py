"""What cometbot is measured by, beside its peers: ``python -m benchmarks``."""
