"""HEIC and HEIF through pillow-heif, an extra: what phones take photos in, and neither OpenCV nor Pillow reads.

It turns a picture by what its container says. An EXIF orientation without that says nothing (ISO/IEC 23008-12)."""

import importlib.util

MISSING = (
    "HEIC or HEIF, which needs pillow-heif: `pip install pillow-heif`, and the next run reads it; or convert it to JPEG"
)


def can_read_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def let_pillow_read_heif() -> None:
    """Registers the format HEIF with Pillow, in this process. Thumbnails and depth pictures aren't read; one thread
    decodes, since the workers share the cores already."""
    import pillow_heif  # an extra, and 30 ms

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
