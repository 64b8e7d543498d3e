"""Worlds that change: what a policy loses when models or outcomes are no longer what they were, and for how long."""
