"""The child process that reads the files of strangers. Imports nothing else of Phoenix, and gets no settings."""
