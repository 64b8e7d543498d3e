"""The Sojourn service: gRPC edge (rpc), choice (policy), memory (journal), lesson (learner).

A request walks rpc -> router -> policy -> journal; the learner follows the journal and publishes
snapshots that the router's next choice uses. `app` wires everything; `cli` is the only importer of `app`.
"""
