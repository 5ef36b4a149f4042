"""`penstock up`: a gateway and its workers on this machine."""
