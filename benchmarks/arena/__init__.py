"""The arena: the same policies on the same episodes of live worlds, side by side."""
