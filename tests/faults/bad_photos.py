"""Files that hurt: mutated, cut, turned, endless or huge ones, made with a seed."""

import io
import random
import warnings
from pathlib import Path

from PIL import Image

from tests.pictures import encoded, png_bomb, turned, webp_bomb, with_exif_prefix

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


def mutated(photos: list[Path], count: int, seed: int) -> dict[str, bytes]:
    """Photos with flipped bits, cut ends, and the head of one on the body of another, by file name."""
    chance, found = random.Random(seed), {}
    sources = [_as(photo, kind) for photo, kind in zip(photos, FORMATS * len(photos), strict=False)]
    for index in range(count):
        content = bytearray(chance.choice(sources))
        match index % 3:
            case 0:
                for _ in range(chance.choice((1, 3, 30, 300))):
                    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            case 1:
                del content[chance.randrange(len(content)) :]
            case 2:
                other, where = chance.choice(sources), chance.randrange(min(len(content), 2000))
                content = content[:where] + bytearray(other[where:])
        found[f"{index:04}.jpg"] = bytes(content)
    return found


def cut(photo: Path, share: float) -> bytes:
    content = photo.read_bytes()
    return content[: int(len(content) * share)]


def without_end(photo: Path) -> bytes:
    """Without the marker that ends a JPEG; all its pixels are there."""
    content = photo.read_bytes().rstrip(b"\0")
    assert content.endswith(b"\xff\xd9"), photo
    return content[:-2]


def overwritten(photo: Path, chance: random.Random, count: int = 60) -> bytes:
    """With so many random bytes in its middle half."""
    content = bytearray(photo.read_bytes())
    start = chance.randrange(len(content) // 4, 3 * len(content) // 4 - count)
    content[start : start + count] = chance.randbytes(count)
    return bytes(content)


def endless(scans: int = 5000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: some 200 kB that take a decoder half a minute."""
    content = encoded(Image.new("RGB", (3000, 3000), (120, 130, 140)), "JPEG", progressive=True, quality=90)
    last = max(content.rfind(b"\xff\xc4"), 0)  # the tables of the last scan, and the scan
    return content[:-2] + content[last:-2] * scans + b"\xff\xd9"


def orientations(picture: Image.Image, sizes: tuple[int, ...]) -> dict[str, bytes]:
    """The picture at those widths, in every orientation and every format that can say so, by file name."""
    found = {}
    for side in sizes:
        scaled = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        for orientation in range(1, 9):
            jpeg = turned(scaled, "JPEG", orientation, quality=95)
            webp = turned(scaled, "WEBP", orientation, quality=95, method=0)
            png = turned(scaled, "PNG", orientation, compress_level=1)
            avif = turned(scaled, "AVIF", orientation, quality=90, speed=10)
            tiff = turned(scaled, "TIFF", orientation)
            prefixed = webp if orientation == 1 and b"EXIF" not in webp else with_exif_prefix(webp)
            kinds = {"jpeg": jpeg, "webp": webp, "prefix.webp": prefixed, "png": png, "avif": avif, "tiff": tiff}
            found |= {f"{side}-{orientation}.{kind}": content for kind, content in kinds.items()}
    return found


def bombs() -> dict[str, bytes]:
    """Small files that say, or have, more pixels than anyone wants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        grey = encoded(Image.new("L", (20_000, 20_000)), "JPEG")
        progressive = encoded(Image.new("L", (10_001, 10_001)), "JPEG", progressive=True)
    return {
        "small.webp": webp_bomb(),
        "one-bit.png": png_bomb(20_000, 1, 0),
        "rgb.png": png_bomb(20_000, 8, 2),
        "forty-thousand.png": png_bomb(40_000, 1, 0),
        "grey.jpg": grey,
        "progressive.jpg": progressive,
    }


def _as(photo: Path, kind: str) -> bytes:
    with Image.open(io.BytesIO(photo.read_bytes())) as picture:
        return encoded(picture.convert("RGB"), kind)
