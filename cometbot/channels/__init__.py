"""The doors. One package a channel; no channel knows another."""
