"""uvicorn as Phoenix runs it: bounded heads of requests, and streams that do not hold up a shutdown."""
