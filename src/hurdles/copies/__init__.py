"""One radiograph twice: found by its pixels, within a collection and across."""
