"""Why an engine cannot start."""


class EngineUnavailable(Exception):
    """It cannot start, and starting it again will not help: a missing library, model or program, or too little memory.

    The message is a sentence for the operator that says what would help.
    """
