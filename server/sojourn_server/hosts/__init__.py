"""Where a process keeps its truth: alone on its host, or as one of several hosts over PostgreSQL."""
