"""The gRPC edge: validates, calls the router or the administration, formats. No rule of the router lives here."""
