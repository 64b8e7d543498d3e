"""What people do to a running service: beside the core, which serves and learns without it."""
