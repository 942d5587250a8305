"""scikit-learn's handwritten digits in the place of MNIST and Fashion-MNIST: no file, no network, the same shape."""

import hashlib

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Labelled = tuple[np.ndarray, np.ndarray]
"""Images (N, 28, 28) uint8 and their classes (N,) int64."""

TITLES = {"mnist": "scikit-learn's digits", "fashion_mnist": "scikit-learn's digits on their side"}
"""What stands for each set."""

CLASS_NAMES = {
    "mnist": [str(digit) for digit in range(10)],
    "fashion_mnist": [f"{digit} on its side" for digit in range(10)],
}


def digits() -> tuple[dict[str, dict[str, Labelled]], dict[str, str]]:
    """Return 1,797 real digits, upright and on their side, and their checksum.

    A digit of 8x8 pixels is enlarged to 20x20 and lies in the middle of 28x28, as those of MNIST do. Turned to the left
    by a quarter, the digits are ten other shapes, and stand for the classes of Fashion-MNIST. A digit is in the same
    split in both sets.

    Returns:
        ``"mnist"`` (upright) or ``"fashion_mnist"`` (on their side) -> ``"train"`` (1,198 images) or ``"t10k"`` (599)
        -> images and classes; and name -> digest of scikit-learn's data.
    """
    pixels, classes = load_digits(return_X_y=True)
    pixels, classes = pixels.astype(np.uint8).reshape(-1, 8, 8), classes.astype(np.int64)
    sums = {"digits": f"sha256:{hashlib.sha256(pixels.tobytes() + classes.astype(np.uint8).tobytes()).hexdigest()}"}
    upright = np.pad(_enlarged(pixels), ((0, 0), (4, 4), (4, 4)))
    on_side = np.ascontiguousarray(np.rot90(upright, axes=(1, 2)))
    train, t10k = train_test_split(np.arange(len(classes)), test_size=1 / 3, random_state=0, stratify=classes)
    rows = {"train": np.sort(train), "t10k": np.sort(t10k)}
    sets = {"mnist": upright, "fashion_mnist": on_side}
    return {name: {split: (images[i], classes[i]) for split, i in rows.items()} for name, images in sets.items()}, sums


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Enlarge images (N, 8, 8) of 0 to 16 to (N, 20, 20) of 0 to 255, bilinearly.

    A new pixel lies a whole number of tenths from the old ones, so that integers give the same bytes on any processor.
    """
    places = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    tenths = np.stack([np.interp(places, np.arange(8), 10 * row) for row in np.eye(8)], axis=1).round().astype(np.int64)
    enlarged: np.ndarray = tenths @ pixels.astype(np.int64) @ tenths.T  # 0 to 16 * 10 * 10
    return ((255 * enlarged + 800) // 1600).astype(np.uint8)
