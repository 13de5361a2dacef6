"""Surfaces translate: they hold no decisions, and say the same JSON everywhere."""
