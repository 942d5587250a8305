"""The one kind of error that a user, not a developer, is meant to read."""


class InputError(Exception):
    """Something the user gave is wrong; the message is one line that says what, and what to do."""

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this: in a notebook, and so in papermill's output, the line stands without a traceback.
        return [f"{type(self).__name__}: {self}"]
