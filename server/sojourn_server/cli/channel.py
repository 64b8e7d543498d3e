"""How commands reach a router: in the clear, or over TLS, with a token if one is given.

Both come from the environment, so that neither stands in a shell's history: SOJOURN_CA names a file with the
certificates to trust (or is "system"), SOJOURN_TOKEN is the secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

CA_VARIABLE, TOKEN_VARIABLE = "SOJOURN_CA", "SOJOURN_TOKEN"
SYSTEM = "system"


def open_channel(address: str) -> grpc.Channel:
    """A channel to a router. Exits if the certificates cannot be read."""
    import grpc

    options = (("grpc.max_receive_message_length", -1),)
    authority = os.environ.get(CA_VARIABLE)
    if not authority:
        return grpc.insecure_channel(address, options=options)
    try:
        roots = None if authority == SYSTEM else Path(authority).read_bytes()
    except OSError as error:
        from sojourn_server.cli.output import fail  # a health check waits for nothing that it does not need

        raise fail(f"{CA_VARIABLE}: {authority}: {error.strerror}", next_step="name a file of certificates") from None
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=options)


def metadata() -> tuple[tuple[str, str], ...]:
    """What goes with every call: the token, if there is one."""
    token = os.environ.get(TOKEN_VARIABLE)
    return (("authorization", f"Bearer {token}"),) if token else ()
