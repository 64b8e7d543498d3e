"""Pictures of pages, small enough to be kept in the repository."""

from __future__ import annotations

import io

from PIL import Image

COLOURS = 256


def compressed(png: bytes) -> bytes:
    """The picture in fewer colours."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(file, "PNG", optimize=True)
    return file.getvalue()
