"""The audit audited: how often hurdles cry wolf, and how often they see one, on known cohorts."""
