"""Where faces are, who is who from frame to frame, and how a face is framed."""
