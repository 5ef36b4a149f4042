"""OpenAI's Responses API, said as chat completions."""
