"""FER-2013 and FER+: CSV files, archives and votes, to arrays."""
