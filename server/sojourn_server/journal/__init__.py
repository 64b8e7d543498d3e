"""The journal: append-only, ordered, idempotent. `journal.Journal` is the protocol; sqlite and memory keep to it."""
