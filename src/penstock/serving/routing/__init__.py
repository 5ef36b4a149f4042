"""Where a request goes: the gateway's view of its workers, their health, pools, and the choice among them."""
