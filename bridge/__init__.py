"""lab2mqtt: a bridge between instruments with WebSocket APIs and MQTT."""

__version__ = "0.1.0"
