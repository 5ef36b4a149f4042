"""Processes beside the gateway that are not workers: task runners and streams."""
