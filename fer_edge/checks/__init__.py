"""Checks of an installation, a machine and a model: doctor, latency, accuracy, plots."""
