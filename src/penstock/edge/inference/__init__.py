"""The inference routes below ASGI: the client connection and the fast lane."""
