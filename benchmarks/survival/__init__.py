"""What a dialog survives: each bot of docs/comparison is killed at each moment of an order, and started again."""
