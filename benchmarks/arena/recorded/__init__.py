"""Recorded outcomes of real LLMs: the model is chosen once an episode, and every model's outcome is known."""
