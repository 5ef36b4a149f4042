"""The store's area `ledger`: its tables and its statements."""
