"""What a run tells an MQTT broker, and what it may be asked there. docs/mqtt.md explains every topic."""
