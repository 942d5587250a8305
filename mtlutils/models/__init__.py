"""Networks: a shared encoder and one head a task."""

from mtlutils.models.dilated_resnet import dilated_resnet, pretrained_weights
from mtlutils.models.fingers_cnn import fingers_cnn
from mtlutils.models.lenet import lenet
from mtlutils.models.mtan import dilated_resnet_mtan, segnet_mtan
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.segnet import segnet
from mtlutils.models.text import text_classifier
from mtlutils.models.wide_resnet import wide_resnet

__all__ = [
    "MultiTaskModel",
    "dilated_resnet",
    "dilated_resnet_mtan",
    "fingers_cnn",
    "lenet",
    "pretrained_weights",
    "segnet",
    "segnet_mtan",
    "text_classifier",
    "wide_resnet",
]
