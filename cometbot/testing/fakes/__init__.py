"""Fakes of the platforms: each is a channel, with users who act and the messages that they see."""
