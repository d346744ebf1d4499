"""The channels: one package each; no channel knows another."""
