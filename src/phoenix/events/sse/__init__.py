"""Server-Sent Events: what one client receives, and from where a client resumes."""
