"""Heat-maps, and what must hold before one is shown."""
