"""Where results go: JSON lines, terminal, annotated video or image, window."""
