"""A year of visits and minutes in one SQLite file; docs/store.md explains every column."""
