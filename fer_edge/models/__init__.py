"""Model files, the runtimes that run them, and the classifier over both."""
