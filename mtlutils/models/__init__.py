"""Networks: a shared encoder and one head a task."""

from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.text import text_classifier

__all__ = ["MultiTaskModel", "text_classifier"]
