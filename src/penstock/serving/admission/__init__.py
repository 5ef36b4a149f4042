"""May it come in? Keys, tiers, limits and repeated requests: plain calls on memory, for every request."""
