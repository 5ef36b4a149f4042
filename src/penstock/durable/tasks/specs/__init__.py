"""What a submission asks for: its fields, its graph, its payloads and the results of parents in them."""
