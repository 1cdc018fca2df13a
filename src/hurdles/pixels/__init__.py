"""Pixels in, pixels out: preparation and augmentation; no training here."""
