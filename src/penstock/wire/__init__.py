"""OpenAI's JSON and server-sent events to and from the domain's words. Pure: bytes in, values or bytes out."""
