"""Who may do what: API keys and what each is allowed. Knows nothing of jobs beyond the owner that they carry."""
