"""The wiring: settings in, a running gateway, worker or whole platform out. The only room that knows all others."""
