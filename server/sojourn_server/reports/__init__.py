"""What a journal says to people: an episode explained, and the report. Pure functions from records to figures."""
