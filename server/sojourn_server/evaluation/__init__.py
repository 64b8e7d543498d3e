"""What other policies would have been worth, by the journal alone."""
