"""Bytes to upright RGB pixels, within limits: runs in a disposable process, since decoders crash and hang.

A file is read once and what was read is hashed and decoded. Its first bytes must be of an allowed format, its
header's size within the limit, before any pixel is decoded. JPEG goes through simplejpeg (libjpeg-turbo), whose
warnings tell a cut or damaged file from a whole one: `cv2.imread` fills the missing part with grey and says nothing.
A large JPEG is decoded at 1/2, 1/4 or 1/8: 12 megapixels take 75 ms whole and 23 ms at a quarter."""

import hashlib
import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import NamedTuple

from storage.values import MOST_PIXELS, FileStatus

# OpenCV reads its own limit when it's imported, and only then.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.heif import MISSING, can_read_heif, let_pillow_read_heif

Image.MAX_IMAGE_PIXELS = None  # its limit is looked at first and is none of ours: see `_read_header`
_EXIF_ORIENTATION = 0x0112
_PNG_ORIENTATION_MARKS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")  # EXIF, ImageMagick's, XMP
_SIGNATURES = {  # the first bytes of a file, from each format's standard
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"P4": "PPM",
    b"P5": "PPM",
    b"P6": "PPM",
}

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # ISO/IEC 23008-12, annex B
_KNOWN_BUT_NOT_READ = {b"8BPS": "Photoshop", b"\x00\x00\x01\x00": "icon", b"%PDF": "PDF", b"DDS ": "DirectDraw"}

# What Pillow's readers raise on damaged files, by fuzzing and by their source.
_PILLOW_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    RuntimeError,
    EOFError,
    AssertionError,
    struct.error,
    zlib.error,
)


class BadPhoto(Exception):
    """A file that gives no pixels: the status it gets, and the reason."""

    def __init__(self, status: FileStatus, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Photo:
    """Upright pixels. `scale` is decoded pixels for each pixel of the full-size photo, in (0, 1]."""

    pixels: np.ndarray  # uint8 [height, width, 3], RGB
    scale: float
    remark: str | None = None  # what was odd about the file, though its pixels are whole


@dataclass(frozen=True)
class _Header:
    """What a file says of itself before its pixels: stored size, and EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int
    progressive: bool


class Content(NamedTuple):
    """What one read of a file or an object gave, and when that was last changed, in nanoseconds since 1970."""

    data: bytes
    file_hash: str  # SHA-256, hex
    mtime_ns: int


def read_file(path: bytes, max_bytes: int) -> Content:
    """Never blocks on a pipe. Raises BadPhoto."""
    with _opened(path) as stream:
        about = os.fstat(stream.fileno())
        if about.st_size > max_bytes:
            raise BadPhoto(FileStatus.TOO_LARGE, f"{about.st_size:,} bytes, over the limit of {max_bytes:,}")
        content = stream.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise BadPhoto(FileStatus.TOO_LARGE, f"grew over the limit of {max_bytes:,} bytes while it was read")
    return Content(content, hashlib.sha256(content).hexdigest(), about.st_mtime_ns)


def hash_file(path: bytes) -> str:
    """SHA-256, hex, of a file of any size. Never blocks on a pipe. Raises BadPhoto."""
    with _opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _opened(path: bytes) -> Iterator[BufferedReader]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadPhoto(FileStatus.UNREADABLE, f"can't be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)  # here, since `fdopen` raises for a folder
        raise BadPhoto(FileStatus.NOT_AN_IMAGE, "not a regular file")
    with os.fdopen(handle, "rb") as stream:
        try:
            yield stream
        except OSError as error:
            raise BadPhoto(FileStatus.UNREADABLE, f"can't be read: {error.strerror}") from error


def decode(content: bytes, *, max_pixels: int, decode_side: int) -> Photo:
    """Decodes a whole file. A JPEG is scaled down while its longer side stays at or over `decode_side` pixels.
    Raises BadPhoto."""
    kind = _kind(content)
    header = _read_header(content, kind, max_pixels)
    try:
        if kind == "JPEG" and (photo := _decode_jpeg(content, header, decode_side)) is not None:
            pixels = _upright(photo.pixels, header.orientation)
            return Photo(pixels, max(pixels.shape[:2]) / max(header.width, header.height), photo.remark)
        if kind == "HEIF":
            return Photo(_decode_with_pillow(content, kind), 1.0)
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise BadPhoto(FileStatus.TOO_LARGE, "decoding it needs more memory than a worker may use") from error
        pixels = None
    if pixels is None:
        return Photo(_decode_with_pillow(content, kind), 1.0, "OpenCV can't read it; read by Pillow")
    if kind == "TIFF":  # OpenCV turns a TIFF by itself, whatever the flag says
        return Photo(pixels, 1.0)
    return Photo(_upright(pixels, header.orientation), 1.0)


def _kind(content: bytes) -> str:
    if not content:
        raise BadPhoto(FileStatus.NOT_AN_IMAGE, "the file is empty")
    for signature, kind in _SIGNATURES.items():
        if content.startswith(signature):
            return kind
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp":
        return _kind_of_container({content[start : start + 4] for start in range(8, 64, 4)})
    for signature, kind in _KNOWN_BUT_NOT_READ.items():
        if content.startswith(signature):
            raise BadPhoto(FileStatus.NOT_AN_IMAGE, f"{kind}, which isn't read; convert it to JPEG or PNG")
    raise BadPhoto(FileStatus.NOT_AN_IMAGE, f"its first bytes ({content[:8].hex(' ')}) are of no image format")


def _kind_of_container(brands: set[bytes]) -> str:
    if {b"avif", b"avis"} & brands:
        return "AVIF"
    if not _HEIF_BRANDS & brands:
        raise BadPhoto(FileStatus.NOT_AN_IMAGE, "a video or audio container, which isn't read")
    if not can_read_heif():
        raise BadPhoto(FileStatus.UNREADABLE, MISSING)
    let_pillow_read_heif()
    return "HEIF"


def _read_header(content: bytes, kind: str, max_pixels: int) -> _Header:
    """Decodes no pixel of a picture over `max_pixels`, for which it raises BadPhoto. Pillow reads the orientation of
    every format alike, AVIF's own and text chunks of PNG included; OpenCV doesn't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF and the like
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                width, height = image.size
                if width * height > max_pixels:
                    size = f"{width} x {height} pixels"
                    raise BadPhoto(FileStatus.TOO_LARGE, f"{size}, over the limit of {max_pixels:,}")
                orientation = _orientation(image, content)
                progressive = "progressive" in image.info
        except UnidentifiedImageError as error:
            raise BadPhoto(FileStatus.UNREADABLE, f"it begins like {kind}, but its header can't be read") from error
        except (*_PILLOW_ERRORS, MemoryError) as error:
            raise BadPhoto(_status_of(error), f"its header can't be read: {_line(error)}") from error
    return _Header(width, height, orientation, progressive)


def _orientation(image: Image.Image, content: bytes) -> int:
    if image.format == "PNG" and not any(mark in content for mark in _PNG_ORIENTATION_MARKS):
        return 1  # asked for its EXIF, Pillow would decode the whole picture to see whether some comes after it
    try:
        orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _PILLOW_ERRORS:
        return 1  # broken EXIF doesn't make the pixels worse
    return orientation if orientation in range(1, 9) else 1


def _decode_jpeg(content: bytes, header: _Header, decode_side: int) -> Photo | None:
    """None where libjpeg-turbo refuses the header though other decoders may read it. Raises BadPhoto for a cut file."""
    longer_side = max(header.width, header.height)
    factor = max((step for step in (1, 2, 4, 8) if longer_side / step >= decode_side), default=1)
    width, height = header.width // factor, header.height // factor
    try:
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_width=width, min_height=height, min_factor=factor)
        return Photo(pixels, 1.0)
    except ValueError as error:
        complaint = str(error)
    if "Premature end of JPEG file" in complaint and header.progressive:
        raise BadPhoto(FileStatus.TRUNCATED, "the file ends early; scans that sharpen the whole picture may be missing")
    if "Premature end of JPEG file" in complaint:
        # Without its end marker a file may still have all its pixels: with one added, libjpeg tells.
        try:
            return Photo(
                simplejpeg.decode_jpeg(content + b"\xff\xd9", "RGB"), 1.0, "no end marker; its pixels are whole"
            )
        except ValueError as error:
            raise BadPhoto(FileStatus.TRUNCATED, f"the file ends early: {error}") from error
    try:
        pixels = simplejpeg.decode_jpeg(content, "RGB", strict=False)
    except ValueError:
        return None
    if "before marker 0xd9" in complaint and _is_filler(content, complaint):
        return Photo(pixels, 1.0, complaint)
    raise BadPhoto(FileStatus.TRUNCATED, f"its pixels are damaged: {complaint}")


def _is_filler(content: bytes, complaint: str) -> bool:
    """Whether the surplus bytes before the end marker are padding, as some cameras write. Those left over from rows
    of pixels tell of damage further up: the decoder went on in the wrong place and ran out of rows early."""
    count = int(complaint.split("data: ", 1)[1].split(" ", 1)[0])
    end = content.rfind(b"\xff\xd9")
    return len(set(content[max(0, end - count) : end])) <= 2


def _decode_with_pillow(content: bytes, kind: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF and the like
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                upright = ImageOps.exif_transpose(image)
                return _stretched(upright) if upright.mode[0] in "FI" else np.asarray(upright.convert("RGB"))
        except MemoryError as error:
            raise BadPhoto(FileStatus.TOO_LARGE, "decoding it needs more memory than a worker may use") from error
        except _PILLOW_ERRORS as error:
            raise BadPhoto(_status_of(error), f"no decoder reads it: {_line(error)}") from error


def _status_of(error: BaseException) -> FileStatus:
    said = str(error).lower()
    cut = "truncated" in said or "unexpected end of file" in said  # Pillow's words, libheif's
    return FileStatus.TRUNCATED if cut else FileStatus.UNREADABLE


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _stretched(image: Image.Image) -> np.ndarray:
    """RGB of numbers of more than 8 bits, which Pillow would cut off at 255: their range becomes 0 to 255."""
    numbers = np.asarray(image, np.float64)
    numbers = np.where(np.isfinite(numbers), numbers, 0)
    low, high = numbers.min(), numbers.max()
    grey = (numbers - low) * (255 / max(high - low, np.finfo(np.float32).tiny))
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (1 to 8; EXIF 2.32, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    pixels = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(pixels)
