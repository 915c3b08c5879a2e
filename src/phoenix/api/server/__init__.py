"""The server: uvicorn with bounded request heads, and with streams that do not delay a shutdown."""
