"""Questions about why a policy does well, each a set of contestants and who is compared with whom."""
