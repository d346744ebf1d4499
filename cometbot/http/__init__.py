"""What the views of several channels need: credentials, bounded bodies, errors as JSON."""
