"""Any bytes give upright pixels or a reason, never a crash and never grey where the picture should be."""

import csv
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from storage.values import FileStatus
from tasks.decode import _SIGNATURES, BadPhoto, Photo, _kind, _read_header, decode, read_file
from tests.pictures import encoded, png_bomb, turned, webp_bomb, with_exif_prefix

LIMIT = 100_000_000
MAGIC = [
    *_SIGNATURES,
    b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    b"\x00\x00\x00\x20ftypavif",
    b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf",
    b"P6\n9 9\n255\n",
    b"8BPS",
    b"%PDF",
]
KINDS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM")


def decoded(content: bytes, decode_side: int = 1280) -> Photo:
    return decode(content, max_pixels=LIMIT, decode_side=decode_side)


def refused(content: bytes) -> BadPhoto:
    with pytest.raises(BadPhoto) as caught:
        decoded(content)
    return caught.value


def difference(pixels: np.ndarray, picture: Image.Image) -> float:
    """Mean absolute difference of values, 0 to 255; infinite where the shapes differ."""
    wanted = np.asarray(picture.convert("RGB"), np.float32)
    return float(np.abs(pixels - wanted).mean()) if pixels.shape == wanted.shape else float("inf")


@pytest.fixture(scope="module")
def portrait(hopper: Path) -> Image.Image:
    """A picture that no turn or mirror leaves as it is, of odd sides."""
    return Image.open(hopper).convert("RGB").resize((129, 151))


@pytest.fixture(scope="module")
def jpeg(hopper: Path) -> bytes:
    """A whole baseline JPEG of a face, with its end marker last."""
    content = encoded(Image.open(hopper).convert("RGB"), "JPEG", quality=90)
    assert content.endswith(b"\xff\xd9")
    return content


@pytest.fixture(scope="module")
def progressive(hopper: Path) -> bytes:
    return encoded(Image.open(hopper).convert("RGB"), "JPEG", quality=90, progressive=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_turned_photo_comes_out_upright(portrait: Image.Image, kind: str, orientation: int) -> None:
    photo = decoded(turned(portrait, kind, orientation, **({} if kind == "TIFF" else {"quality": 95})))
    assert difference(photo.pixels, portrait) < 4


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_webp_whose_exif_has_a_prefix_comes_out_upright(portrait: Image.Image, orientation: int) -> None:
    content = with_exif_prefix(turned(portrait, "WEBP", orientation, quality=95))
    assert difference(decoded(content).pixels, portrait) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_upright_at_a_reduced_scale_too(hopper: Path, orientation: int) -> None:
    picture = Image.open(hopper).convert("RGB").resize((1024, 1200))
    photo = decoded(turned(picture, "JPEG", orientation, quality=95), decode_side=300)
    assert difference(photo.pixels, picture.resize((256, 300), Image.Resampling.BOX)) < 4


@pytest.mark.parametrize(
    ("decode_side", "scale"), [(1200, 1), (601, 1), (600, 0.5), (300, 0.25), (150, 0.125), (9, 0.125)]
)
def test_a_large_jpeg_says_at_which_scale_it_was_decoded(hopper: Path, decode_side: int, scale: float) -> None:
    content = encoded(Image.open(hopper).convert("RGB").resize((1024, 1200)), "JPEG")
    photo = decoded(content, decode_side)
    assert (photo.scale, photo.pixels.shape) == (scale, (1200 * scale, 1024 * scale, 3))


def test_only_jpeg_is_decoded_smaller(portrait: Image.Image) -> None:
    photo = decoded(encoded(portrait, "PNG"), decode_side=10)
    assert (photo.scale, photo.pixels.shape) == (1.0, (151, 129, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_every_allowed_format_gives_its_picture(portrait: Image.Image, kind: str) -> None:
    lost_to_palette = 20 if kind == "GIF" else 6
    assert difference(decoded(encoded(portrait, kind)).pixels, portrait) < lost_to_palette


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_pixel_is_a_picture(kind: str) -> None:
    photo = decoded(encoded(Image.new("RGB", (1, 1), (255, 255, 255)), kind), decode_side=1)
    assert photo.pixels.shape == (1, 1, 3)
    assert photo.pixels.min() > 240


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (65500, 1), (1, 65500)])
def test_a_line_of_pixels_is_a_jpeg_like_another(size: tuple[int, int]) -> None:
    photo = decoded(encoded(Image.new("RGB", size, (250, 0, 0)), "JPEG"), decode_side=8)
    assert min(photo.pixels.shape[:2]) == 1


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99])
def test_a_cut_jpeg_is_truncated(jpeg: bytes, share: float) -> None:
    assert refused(jpeg[: int(len(jpeg) * share)]).status == FileStatus.TRUNCATED


@pytest.mark.parametrize("lost", [3, 4, 8, 20, 64])
def test_a_jpeg_that_lost_its_last_pixels_is_not_taken_for_whole(jpeg: bytes, lost: int) -> None:
    """A row may be whole though a byte of padding is gone; then the pixels must be the whole file's."""
    if _status(jpeg[:-lost]) != FileStatus.TRUNCATED:
        assert np.array_equal(decoded(jpeg[:-lost]).pixels, decoded(jpeg).pixels)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_marker_keeps_its_pixels_and_says_so(jpeg: bytes, lost: int) -> None:
    photo = decoded(jpeg[:-lost])
    assert photo.remark is not None
    assert np.array_equal(photo.pixels, decoded(jpeg).pixels)


def test_a_large_jpeg_without_its_end_marker_says_its_scale(jpeg: bytes) -> None:
    photo = decoded(jpeg[:-2], decode_side=150)
    assert max(photo.pixels.shape) == round(600 * photo.scale)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_cut_progressive_jpeg_is_truncated(progressive: bytes, share: float) -> None:
    assert refused(progressive[: int(len(progressive) * share)]).status == FileStatus.TRUNCATED


def test_most_jpegs_damaged_in_the_middle_are_refused(jpeg: bytes) -> None:
    """Huffman codes find back into step by themselves, so one in four comes out wrong without a sign of it."""
    random = np.random.default_rng(0)
    starts = random.integers(len(jpeg) // 4, len(jpeg) * 3 // 4, 40)
    damaged = [jpeg[:start] + random.bytes(60) + jpeg[start + 60 :] for start in starts]
    assert [_status(content) for content in damaged].count(FileStatus.TRUNCATED) >= 28


def test_padding_before_the_end_marker_of_a_jpeg_is_no_damage(jpeg: bytes) -> None:
    photo = decoded(jpeg[:-2] + bytes(100) + jpeg[-2:])
    assert photo.remark is not None
    assert np.array_equal(photo.pixels, decoded(jpeg).pixels)


def test_pixels_left_over_before_the_end_marker_of_a_jpeg_are_damage(jpeg: bytes) -> None:
    surplus = np.random.default_rng(0).integers(1, 200, 100).astype(np.uint8).tobytes()
    assert refused(jpeg[:-2] + surplus + jpeg[-2:]).status == FileStatus.TRUNCATED


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PPM"])
def test_a_cut_picture_of_another_format_gives_no_pixels(portrait: Image.Image, kind: str, share: float) -> None:
    content = encoded(portrait, kind)
    assert refused(content[: int(len(content) * share)]).status in (FileStatus.TRUNCATED, FileStatus.UNREADABLE)


def test_a_cut_cmyk_jpeg_is_truncated(portrait: Image.Image) -> None:
    content = encoded(portrait.convert("CMYK"), "JPEG")
    assert refused(content[: len(content) // 2]).status == FileStatus.TRUNCATED


def test_a_damaged_cmyk_jpeg_is_truncated(hopper: Path) -> None:
    content = encoded(Image.open(hopper).convert("CMYK"), "JPEG")
    middle = len(content) // 2
    damaged = content[:middle] + np.random.default_rng(0).bytes(60) + content[middle + 60 :]
    assert refused(damaged).status == FileStatus.TRUNCATED


def test_cmyk_keeps_its_colours(portrait: Image.Image) -> None:
    assert difference(decoded(encoded(portrait.convert("CMYK"), "JPEG", quality=95)).pixels, portrait) < 6


def test_a_grey_jpeg_becomes_three_equal_channels(portrait: Image.Image) -> None:
    pixels = decoded(encoded(portrait.convert("L"), "JPEG")).pixels
    assert np.ptp(pixels, axis=2).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = decoded(encoded(Image.fromarray(ramp), kind)).pixels
    assert np.abs(pixels[..., 0] - ramp / 257).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_a_float_tiff_is_a_picture_whatever_its_range(portrait: Image.Image, top: float) -> None:
    grey = np.asarray(portrait.convert("L"), np.float32) / 255 * top
    content = encoded(Image.fromarray(grey), "TIFF")
    assert difference(decoded(content).pixels, portrait.convert("L")) < 8


def test_twelve_bits_are_not_cut_off_at_255(shared: Path) -> None:
    content = (shared / "data/bad_images/12bit.cropped.tif").read_bytes()
    assert np.ptp(decoded(content).pixels) == 255


def test_a_png_is_turned_by_exif_that_comes_after_its_pixels(portrait: Image.Image) -> None:
    content = turned(portrait, "PNG", 6)
    start = content.index(b"eXIf") - 4
    size = int.from_bytes(content[start : start + 4], "big") + 12
    late = content[:start] + content[start + size : -12] + content[start : start + size] + content[-12:]
    assert difference(decoded(late).pixels, portrait) < 4


def test_a_palette_with_transparency_is_a_picture(portrait: Image.Image) -> None:
    palette = portrait.quantize(64)
    assert difference(decoded(encoded(palette, "PNG", transparency=0)).pixels, palette) < 12


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(webp_bomb(), id="34 bytes of WEBP"),
        pytest.param(png_bomb(20000, 1, 0), id="48 kB of PNG in one bit"),
        pytest.param(png_bomb(12000, 8, 2), id="RGB PNG"),
        pytest.param(
            b"BM"
            + bytes(12)
            + (40).to_bytes(4, "little")
            + (30000).to_bytes(4, "little") * 2
            + b"\x01\x00\x18\x00"
            + bytes(24),
            id="BMP header",
        ),
        pytest.param(b"P6\n40000 40000\n255\n", id="PPM header"),
        pytest.param(
            b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x00;", id="GIF header"
        ),
    ],
)
def test_a_bomb_is_too_large_before_any_pixel_is_decoded(content: bytes) -> None:
    started = time.process_time()
    assert refused(content).status == FileStatus.TOO_LARGE
    assert time.process_time() - started < 0.5


def test_the_limit_on_pixels_is_exact(portrait: Image.Image) -> None:
    content = encoded(portrait, "PNG")
    assert decode(content, max_pixels=129 * 151, decode_side=9).pixels.shape == (151, 129, 3)
    with pytest.raises(BadPhoto, match="over the limit"):
        decode(content, max_pixels=129 * 151 - 1, decode_side=9)


def test_a_limit_on_pixels_may_be_higher_than_pillows_own() -> None:
    width, height = 14_000, 13_000
    content = encoded(Image.new("L", (width, height)), "JPEG")
    photo = decode(content, max_pixels=width * height, decode_side=512)
    assert photo.pixels.shape == (height // 8, width // 8, 3)
    with pytest.raises(BadPhoto, match="14000 x 13000 pixels, over the limit of 1,000"):
        decode(content, max_pixels=1000, decode_side=512)


def test_a_heic_over_the_limit_is_too_large_before_any_pixel_is_decoded(portrait: Image.Image) -> None:
    content = encoded(portrait.resize((128, 150)), "HEIF")
    size = (128).to_bytes(4, "big") + (150).to_bytes(4, "big")
    assert content.count(size) == 1
    started = time.process_time()
    assert refused(content.replace(size, (60_000).to_bytes(4, "big") * 2)).status == FileStatus.TOO_LARGE
    assert time.process_time() - started < 0.5


def test_a_cut_heic_is_truncated(portrait: Image.Image) -> None:
    content = encoded(portrait, "HEIF")
    assert refused(content[: len(content) * 9 // 10]).status == FileStatus.TRUNCATED


def test_without_pillow_heif_a_heic_says_what_to_install(
    portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(portrait, "HEIF")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # stands for a machine without the extra
    bad = refused(content)
    assert bad.status == FileStatus.UNREADABLE
    assert "pip install pillow-heif" in bad.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (bytes(4096), "no image format"),
        (b"<html><body>404</body></html>", "no image format"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"8BPS\x00\x01", "Photoshop"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", "video"),
    ],
)
def test_what_is_no_image_is_refused_by_name(content: bytes, reason: str) -> None:
    bad = refused(content)
    assert bad.status == FileStatus.NOT_AN_IMAGE
    assert reason in bad.reason


def test_the_contents_count_and_not_the_name(tmp_path: Path, portrait: Image.Image) -> None:
    path = tmp_path / "really a jpeg.png"
    path.write_bytes(encoded(portrait, "JPEG"))
    content = read_file(os.fsencode(path), LIMIT).data
    assert difference(decoded(content).pixels, portrait) < 6


def test_broken_exif_does_not_cost_the_pixels(portrait: Image.Image) -> None:
    content = encoded(portrait, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + bytes(range(200)))
    assert difference(decoded(content).pixels, portrait) < 6


def test_an_orientation_that_does_not_exist_leaves_the_photo_as_it_is(portrait: Image.Image) -> None:
    assert difference(decoded(turned(portrait, "JPEG", 9)).pixels, portrait) < 6


def test_every_damaged_file_of_the_corpus_gets_a_status_that_is_expected(shared: Path) -> None:
    folder = shared / "data/bad_images"
    with (folder / "EXPECTED.csv").open() as stream:
        expected = {row["file"]: row["status_any_of"].split("|") for row in csv.DictReader(stream)}
    expected["hopper.heif"].append(FileStatus.OK)  # the table is of decoders without pillow-heif, which is here
    statuses = {name: _status((folder / name).read_bytes()) for name in expected}
    assert {name: got for name, got in statuses.items() if got not in expected[name]} == {}
    assert len(statuses) > 60


def test_most_of_what_only_pillow_reads_is_read(shared: Path) -> None:
    folder = shared / "data/bad_images"
    with (folder / "EXPECTED.csv").open() as stream:
        names = [row["file"] for row in csv.DictReader(stream) if row["decodable"] == "pillow-only"]
    read = [name for name in names if _status((folder / name).read_bytes()) == FileStatus.OK]
    assert len(read) >= 0.7 * len(names)


def _status(content: bytes) -> FileStatus:
    try:
        decoded(content)
    except BadPhoto as bad:
        return bad.status
    return FileStatus.OK


def _pixels_or_a_reason(content: bytes) -> None:
    try:
        photo = decode(content, max_pixels=1_000_000, decode_side=100)
    except BadPhoto:
        return
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.shape[2:] == (3,)
    assert photo.pixels.size > 0
    assert 0 < photo.scale <= 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.binary(max_size=300))
@example(b"\xff\xd8\xff")
def test_any_bytes_give_pixels_or_a_reason(content: bytes) -> None:
    _pixels_or_a_reason(content)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(MAGIC), st.binary(max_size=300))
def test_any_bytes_that_begin_like_an_image_give_pixels_or_a_reason(magic: bytes, rest: bytes) -> None:
    _pixels_or_a_reason(magic + rest)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes().removeprefix(b"Exif\x00\x00")


SMALL = {  # where the format can have EXIF, turned by it
    kind: encoded(Image.radial_gradient("L").resize((34, 22)).convert("RGB"), kind, exif=b"Exif\x00\x00" + _exif())
    for kind in KINDS
}


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A small real picture with a few bytes changed, and its end perhaps cut off."""
    content = bytearray(SMALL[draw(st.sampled_from(KINDS))])
    for _ in range(draw(st.integers(0, 6))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(1, len(content)))]) if draw(st.booleans()) else bytes(content)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(mutated_files())
def test_a_mutated_picture_gives_pixels_or_a_reason(content: bytes) -> None:
    _pixels_or_a_reason(content)


NUMBERS = st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\xff\xff\xff\x7f"])


@st.composite
def damaged_headers(draw: st.DrawFn) -> bytes:
    """A small real picture, with EXIF where it can have some: what is in its first bytes changed, put in or left out,
    and its end perhaps cut off."""
    content = bytearray(SMALL[draw(st.sampled_from(KINDS))])
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, min(len(content), 400)))
        new = draw(st.one_of(st.binary(min_size=1, max_size=4), NUMBERS))
        replaced = draw(st.sampled_from([0, len(new)]))
        content[start : start + replaced] = draw(st.sampled_from([new, b""]))
    return bytes(content[: draw(st.integers(0, len(content)))]) if draw(st.booleans()) else bytes(content)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(damaged_headers())
def test_a_damaged_header_says_what_can_be_or_a_reason(content: bytes) -> None:
    try:
        header = _read_header(content, _kind(content), 1_000_000)
    except BadPhoto:
        return
    assert header.orientation in range(1, 9)
    assert 0 < header.width * header.height <= 1_000_000


@settings(max_examples=250, deadline=None, derandomize=True)
@given(damaged_headers())
def test_a_picture_with_a_damaged_header_gives_pixels_or_a_reason(content: bytes) -> None:
    _pixels_or_a_reason(content)


def test_reading_gives_the_bytes_and_their_hash(hopper: Path) -> None:
    content, file_hash, mtime_ns = read_file(os.fsencode(hopper), LIMIT)
    assert mtime_ns == hopper.stat().st_mtime_ns
    assert content == hopper.read_bytes()
    assert file_hash == hashlib.sha256(content).hexdigest()


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as stream:
        stream.truncate(10 * 2**30)  # sparse: 10 GiB to read, nothing on disk
    with pytest.raises(BadPhoto) as caught:
        read_file(os.fsencode(tmp_path / "huge.jpg"), 1000)
    assert caught.value.status == FileStatus.TOO_LARGE


def test_a_pipe_does_not_block_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadPhoto) as caught:
        read_file(os.fsencode(tmp_path / "pipe.jpg"), LIMIT)
    assert caught.value.status == FileStatus.NOT_AN_IMAGE


@pytest.mark.parametrize("name", ["nothing here.jpg", "", "a folder"])
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "a folder").mkdir()
    with pytest.raises(BadPhoto) as caught:
        read_file(os.fsencode(tmp_path / name), LIMIT)
    assert caught.value.status in (FileStatus.UNREADABLE, FileStatus.NOT_AN_IMAGE)


def test_an_endless_device_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(BadPhoto) as caught:
        read_file(b"/dev/zero", LIMIT)
    assert caught.value.status == FileStatus.NOT_AN_IMAGE
