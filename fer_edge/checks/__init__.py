"""What this installation, this machine and a model are worth: doctor, latency, accuracy, plots."""
