"""The loop, its history and its checkpoints."""
