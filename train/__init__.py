"""Training in PyTorch: networks, augmentation, the loop, checkpoints."""
