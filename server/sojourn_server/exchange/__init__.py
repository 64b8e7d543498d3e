"""Episodes in and out: recorded trajectories into a journal, a journal as JSON lines or Parquet."""
