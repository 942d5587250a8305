"""Figures of images."""

import math
from collections.abc import Container, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from mtlutils.figures.drawing import COLOURS, STYLE


def images(pixels: np.ndarray, titles: Sequence[str], marked: Container[int] = ()) -> Figure:
    """Draw images (N, H, W, 3) of bytes, or (N, H, W, 1) in grey, in rows of five, each below its title.

    Args:
        pixels: The images.
        titles: One an image.
        marked: Numbers, from 0, of images with a coloured title in bold; the title has to say what the colour means.
    """
    with plt.style.context(STYLE):
        height = math.ceil(len(pixels) / 5)
        figure, axes = plt.subplots(height, 5, figsize=(9, 2.2 * height), layout="constrained", squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for i, (axis, image, title) in enumerate(zip(axes.flat, pixels, titles, strict=False)):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(title, fontsize="small")
            if i in marked:
                axis.title.set(color=COLOURS[2], fontweight="bold")
    return figure
