"""What an owner keeps and finds again: titles, tags, favorites, and the search over them and over the texts of jobs."""
