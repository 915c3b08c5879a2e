"""The front of `phoenix frames`: sessions and single frames over WebSocket and gRPC, and a little HTTP."""
