"""The programs that load an engine of speech. Each reads a file with its request, and prints one JSON object."""
