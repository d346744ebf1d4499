"""Shared parts of the channels' views: credentials, limits on bodies, errors as JSON."""
