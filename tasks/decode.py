"""Bytes to upright RGB pixels, within limits: runs in a disposable process, since decoders crash and hang.

A file is read once and what was read is hashed and decoded. Its first bytes must be of an allowed format, its
header's size within the limit, before any pixel is decoded. JPEG goes through simplejpeg (libjpeg-turbo), whose
warnings tell a cut or damaged file from a whole one: `cv2.imread` fills the missing part with grey and says nothing.
A large JPEG is decoded at 1/2, 1/4 or 1/8: 12 megapixels take 75 ms whole and 23 ms at a quarter."""

import hashlib
import io
import os
import stat
import warnings
from dataclasses import dataclass

# OpenCV reads its own limit when it's imported, and only then.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "1000000000")

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from storage.schemas import FileStatus

_EXIF_ORIENTATION = 0x0112
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

_KNOWN_BUT_NOT_READ = {b"8BPS": "Photoshop", b"\x00\x00\x01\x00": "icon", b"%PDF": "PDF", b"DDS ": "DirectDraw"}


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


def read_file(path: bytes, max_bytes: int) -> tuple[bytes, str]:
    """The file's bytes and their SHA-256 in hex. Never blocks on a pipe. Raises BadPhoto."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadPhoto(FileStatus.UNREADABLE, f"can't be opened: {error.strerror}") from error
    with os.fdopen(handle, "rb") as stream:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise BadPhoto(FileStatus.NOT_AN_IMAGE, "not a regular file")
        if about.st_size > max_bytes:
            raise BadPhoto(FileStatus.TOO_LARGE, f"{about.st_size:,} bytes, over the limit of {max_bytes:,}")
        try:
            content = stream.read(max_bytes + 1)
        except OSError as error:
            raise BadPhoto(FileStatus.UNREADABLE, f"can't be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise BadPhoto(FileStatus.TOO_LARGE, f"grew over the limit of {max_bytes:,} bytes while it was read")
    return content, hashlib.sha256(content).hexdigest()


def decode(content: bytes, *, max_pixels: int, decode_side: int) -> Photo:
    """Decodes a whole file. A JPEG is scaled down while its longer side stays at or over `decode_side` pixels.
    Raises BadPhoto."""
    kind = _kind(content)
    header = _read_header(content, kind)
    if header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height} pixels"
        raise BadPhoto(FileStatus.TOO_LARGE, f"{size}, over the limit of {max_pixels:,}")
    try:
        if kind == "JPEG" and (photo := _decode_jpeg(content, header, decode_side)) is not None:
            pixels = _upright(photo.pixels, header.orientation)
            return Photo(pixels, max(pixels.shape[:2]) / max(header.width, header.height), photo.remark)
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
        brands = content[8:64]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        raise BadPhoto(FileStatus.NOT_AN_IMAGE, "a HEIF or video container, which isn't read; convert it to JPEG")
    for signature, kind in _KNOWN_BUT_NOT_READ.items():
        if content.startswith(signature):
            raise BadPhoto(FileStatus.NOT_AN_IMAGE, f"a {kind} file, which isn't read; convert it to JPEG or PNG")
    raise BadPhoto(FileStatus.NOT_AN_IMAGE, f"its first bytes ({content[:8].hex(' ')}) are of no image format")


def _read_header(content: bytes, kind: str) -> _Header:
    """Decodes no pixel. Pillow reads the orientation of every format alike, AVIF's own and text chunks of PNG
    included; OpenCV doesn't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own limit; ours is checked next
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                width, height = image.size
                progressive = "progressive" in image.info
                try:
                    orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
                except (ValueError, TypeError, SyntaxError, OverflowError, KeyError, OSError):
                    orientation = 1  # broken EXIF doesn't make the pixels worse
        except Image.DecompressionBombError as error:
            raise BadPhoto(FileStatus.TOO_LARGE, f"its header says more pixels than are safe: {error}") from error
        except UnidentifiedImageError as error:
            raise BadPhoto(FileStatus.UNREADABLE, f"it begins like {kind}, but its header can't be read") from error
        except (OSError, ValueError, TypeError, SyntaxError, OverflowError, MemoryError, KeyError, IndexError) as error:
            raise BadPhoto(FileStatus.UNREADABLE, f"its header can't be read: {error}") from error
    return _Header(width, height, orientation if orientation in range(1, 9) else 1, progressive)


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
    if "before marker 0xd9" in complaint:  # surplus bytes after the last row of pixels
        return Photo(pixels, 1.0, complaint)
    raise BadPhoto(FileStatus.TRUNCATED, f"its pixels are damaged: {complaint}")


def _decode_with_pillow(content: bytes, kind: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except MemoryError as error:
            raise BadPhoto(FileStatus.TOO_LARGE, "decoding it needs more memory than a worker may use") from error
        except (OSError, ValueError, TypeError, SyntaxError, OverflowError, KeyError, IndexError) as error:
            cut = "truncated" in str(error).lower()
            status = FileStatus.TRUNCATED if cut else FileStatus.UNREADABLE
            raise BadPhoto(status, f"no decoder reads it: {error or type(error).__name__}") from error


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation (1 to 8; EXIF 2.32, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    flip_rows, flip_columns = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    pixels = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(pixels)
