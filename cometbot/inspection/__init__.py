"""What operators see and repeat: dead letters, dialogs, and the messages of a conversation with their replies."""
