"""The device as a service: what systemd is told, the unit, and its installation."""
