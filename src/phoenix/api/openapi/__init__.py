"""The OpenAPI documents: built from the routes, postprocessed, and served."""
