"""The AG-UI channel: clients of agents, such as CometChat and CopilotKit, call a bot and read its streamed answer."""
