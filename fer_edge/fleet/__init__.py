"""What many devices publish at a broker, in one store."""
