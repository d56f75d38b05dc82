"""The failures that end a command at once. Everything else is a `Finding`, so that all come out in one run."""

USAGE = 2
SETTING_WRONG = 3
CHECK_FAILED = 4
REFUSED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127


class Failure(Exception):
    """A failure with its sentence, its stable code and the exit code of the command."""

    exit_code = REFUSED

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(Failure):
    """The command line itself is wrong (exit code 2)."""

    exit_code = USAGE

    def __init__(self, message: str, code: str = "usage") -> None:
        super().__init__(message, code)


class CannotExecute(Failure):
    """The kernel refused to execute the program (exit code 126)."""

    exit_code = CANNOT_EXECUTE


class NotFound(Failure):
    """The program is not there (exit code 127)."""

    exit_code = NOT_FOUND
