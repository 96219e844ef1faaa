"""What many devices tell over a broker, in one store."""
