"""What would happen: traffic through the real pipeline, with simulated workers, on a virtual clock."""
