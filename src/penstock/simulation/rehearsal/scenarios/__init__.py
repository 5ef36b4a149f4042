"""What is rehearsed: each module holds scenarios, with the pass lines that belong to them."""
