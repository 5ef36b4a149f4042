"""Pages and probes: documentation, the OpenAPI document, the web app, health."""
