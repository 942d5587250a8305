"""Networks: a shared encoder and one head a task."""

from mtlutils.models.lenet import lenet
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.text import text_classifier
from mtlutils.models.wide_resnet import wide_resnet

__all__ = ["MultiTaskModel", "lenet", "text_classifier", "wide_resnet"]
