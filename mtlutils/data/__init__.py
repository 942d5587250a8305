"""Data sets: real files on disk, or an embedded stand-in, -> tensors on a device."""
