"""Figures of images."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mtlutils.figures.drawing import STYLE


def images(pixels: np.ndarray, titles: Sequence[str]) -> Figure:
    """Draw images (N, H, W, 3) of bytes, or (N, H, W, 1) in grey, in rows of five, each below its title."""
    with plt.style.context(STYLE):
        height = math.ceil(len(pixels) / 5)
        figure, axes = plt.subplots(height, 5, figsize=(9, 2.2 * height), layout="constrained", squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, image, title in zip(axes.flat, pixels, titles, strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(title, fontsize="small")
    return figure
