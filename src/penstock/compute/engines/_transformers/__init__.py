"""What the engine `transformers` is made of. Nothing here is imported unless that engine is chosen: it brings torch.

A request's way: `prompts` (chat template to token ids) -> `sequences` (one for each choice) -> `batch` (the thread that owns the model)
with `rows` (their caches) and `sampling` (the next token of each) -> `speech` (tokens to text, stops and tool calls) -> events.
"""
