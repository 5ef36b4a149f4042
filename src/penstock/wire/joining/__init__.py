"""What runners and workers say to a gateway, and what they are told."""
