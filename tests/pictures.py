"""Image files made for tests: turned by EXIF, cut, damaged, or larger than they look."""

import io
import struct
import zlib

from PIL import Image

from tasks.heif import let_pillow_read_heif

_ORIENTATION = 0x0112
_TURNED_BY = {  # what was done to a picture that this EXIF orientation undoes
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    if kind == "HEIF":
        let_pillow_read_heif()
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def turned(picture: Image.Image, kind: str, orientation: int, **options) -> bytes:
    """`picture` stored the way a camera held otherwise would, with the orientation that stands it upright again."""
    stored = picture.transpose(_TURNED_BY[orientation]) if orientation in _TURNED_BY else picture
    if kind == "TIFF":
        return encoded(stored, kind, tiffinfo={_ORIENTATION: orientation}, **options)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return encoded(stored, kind, exif=exif.tobytes(), **options)  # pillow-heif turns by bytes alone


def with_exif_prefix(webp: bytes) -> bytes:
    """The same WEBP as some cameras' programs write it: its EXIF chunk begins with `Exif\\0\\0`."""
    start = webp.index(b"EXIF")
    size = struct.unpack("<I", webp[start + 4 : start + 8])[0]
    exif = b"Exif\x00\x00" + webp[start + 8 : start + 8 + size]
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\x00" * (len(exif) % 2)
    body = webp[8:start] + chunk + webp[start + 8 + size + size % 2 :]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_bomb() -> bytes:
    """34 bytes that say 16383 x 16383 pixels: 1.5 GB once decoded."""
    bits = (16383 - 1) | (16383 - 1) << 14
    stream = b"\x2f" + struct.pack("<I", bits) + b"\x00" * 8
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream + b"\x00" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def png_bomb(side: int, bits: int, colour: int) -> bytes:
    """A whole, valid PNG of side x side black pixels, written row by row. `colour` is PNG's: 0 grey, 2 RGB."""
    row = b"\x00" + b"\x00" * (side * bits * (3 if colour == 2 else 1) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _png_chunk(name, data)
        for name, data in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)),
            (b"IDAT", pixels),
            (b"IEND", b""),
        )
    )


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
