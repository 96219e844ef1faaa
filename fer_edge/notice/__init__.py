"""What a run keeps and sends, and the notice that tells it those in front of the camera."""
