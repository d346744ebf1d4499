"""The stored data that operators see and repeat: dead letters, dialogs, and conversations with their replies."""
