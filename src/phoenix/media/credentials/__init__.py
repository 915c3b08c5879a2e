"""Content Credentials (C2PA): says in a signed result that it was generated, and by what."""
