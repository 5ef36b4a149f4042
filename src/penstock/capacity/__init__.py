"""How many replicas a deployment should have, and which of them go: decided from what is observed, without touching anything."""
