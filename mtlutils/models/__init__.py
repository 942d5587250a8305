"""Networks: a shared encoder and one head a task, or another way to share."""

from mtlutils.models.adashare import AdaShare
from mtlutils.models.auxiliary_modules import AuxiliaryModules, SupervisedTwice
from mtlutils.models.cross_stitch import CrossStitch
from mtlutils.models.dilated_resnet import dilated_resnet, pretrained_weights
from mtlutils.models.fingers_cnn import fingers_cnn
from mtlutils.models.gated_sharing import GatedSharing
from mtlutils.models.layered_supervision import LayeredSupervision
from mtlutils.models.lenet import lenet
from mtlutils.models.mlp import mlp
from mtlutils.models.mtan import dilated_resnet_mtan, segnet_mtan
from mtlutils.models.mtan_stages import MTAN
from mtlutils.models.multi_backbone import MultiBackbone
from mtlutils.models.multi_task import MultiTaskModel
from mtlutils.models.multilinear_relationship import MultilinearRelationship
from mtlutils.models.segnet import segnet
from mtlutils.models.sluice import Sluice
from mtlutils.models.soft_sharing import SoftSharing
from mtlutils.models.stages import in_stages
from mtlutils.models.task_routing import TaskRouting
from mtlutils.models.text import text_classifier
from mtlutils.models.wide_resnet import wide_resnet

__all__ = [
    "MTAN",
    "AdaShare",
    "AuxiliaryModules",
    "CrossStitch",
    "GatedSharing",
    "LayeredSupervision",
    "MultiBackbone",
    "MultiTaskModel",
    "MultilinearRelationship",
    "Sluice",
    "SoftSharing",
    "SupervisedTwice",
    "TaskRouting",
    "dilated_resnet",
    "dilated_resnet_mtan",
    "fingers_cnn",
    "in_stages",
    "lenet",
    "mlp",
    "pretrained_weights",
    "segnet",
    "segnet_mtan",
    "text_classifier",
    "wide_resnet",
]
