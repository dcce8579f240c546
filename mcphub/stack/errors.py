"""What can stop the stack, said in one sentence a person can act on."""


class StackError(Exception):
    """The message is shown alone, without a traceback: what is wrong and what to do about it."""
