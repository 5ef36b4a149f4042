"""A simulated GPU and what its model says: pure, on whatever clock the caller has."""
