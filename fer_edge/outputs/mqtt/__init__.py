"""Publishes a run at an MQTT broker, and takes commands there; docs/mqtt.md explains every topic."""
