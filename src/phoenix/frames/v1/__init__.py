"""The protocol of `phoenix frames` over gRPC. `frames.proto` is its source, and `make proto` generates the modules."""
