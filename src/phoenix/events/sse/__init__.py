"""Server-Sent Events: what one client receives, and where a reconnecting client resumes."""
