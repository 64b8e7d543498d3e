"""The rivals of the arena: every policy that Sojourn is compared with, each behind the demo's `Chooser`."""
