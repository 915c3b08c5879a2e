"""The server: uvicorn with limits on its connections, and with streams that do not delay a shutdown."""
