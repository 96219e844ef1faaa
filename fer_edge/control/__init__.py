"""What may be asked of a run from elsewhere: pausing it, masks, sessions."""
