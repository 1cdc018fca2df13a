"""The networks, and a spec that carries what a checkpoint needs."""
