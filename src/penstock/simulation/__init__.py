"""A simulated GPU and what its model says: pure, on the caller's clock."""
