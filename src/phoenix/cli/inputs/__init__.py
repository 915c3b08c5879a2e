"""The files and the clips that guide a reel, from the command line to the request."""
