"""What every area of the store shares: connections, the change feed, sealing, tables' types."""
