"""Boxes and labels drawn on a photo, legible at any size of photo: the canvas is scaled first, the text after it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from review.words import Colour, gender_colour, gender_line
from tasks.decode import Photo
from tasks.detect import Box

CANVAS_SIDE = 1280  # pixels; what a page shows at most
_SMALLEST_CANVAS = 720
_COLOURS = {"violet": (91, 47, 194), "green": (11, 99, 84), "gray": (62, 70, 82)}  # white on them: 7:1 and more
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Area:
    """Where something is drawn, in pixels of the canvas."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Area") -> float:
        """Of both, in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def moved_inside(self, width: float, height: float) -> "Area":
        """Pushed away from the canvas's edges; its left upper corner stays on it in any case."""
        left = max(0.0, min(self.left, width - (self.right - self.left)))
        top = max(0.0, min(self.top, height - (self.bottom - self.top)))
        return Area(left, top, left + self.right - self.left, top + self.bottom - self.top)


@dataclass(frozen=True)
class Label:
    """What is written at a face: lines, the height of their letters in pixels, and the colour behind them."""

    lines: tuple[str, ...]
    letters: float
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Mark:
    """A face on a photo: its box in pixels of the full-size photo, what is written at it where there is room, and
    what where there is little."""

    box: Box
    lines: tuple[str, ...]
    short: str
    colour: Colour


def judged_mark(
    box: Box, age: float | None, age_low: float | None, age_high: float | None, female: float | None
) -> Mark:
    """What a model says of the face; ages are None where none has judged it."""
    if age is None:
        return Mark(box, (), "", "gray")
    gender = () if female is None else (gender_line(female),)
    lines = (f"{age:.0f} years ({age_low:.0f}-{age_high:.0f})", *gender)
    return Mark(box, lines, f"{age:.0f}", gender_colour(female))


def with_faces(photo: Photo, faces: Sequence[Mark]) -> Image.Image:
    """The upright photo with a box for each face, and what there is to say of it."""
    picture = Image.fromarray(photo.pixels)
    longer = max(picture.size)
    factor = min(max(longer, _SMALLEST_CANVAS), CANVAS_SIDE) / longer
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    canvas = picture.resize(size, Image.Resampling.LANCZOS)
    boxes = [_area(face.box, photo.scale * factor) for face in faces]
    draw, stroke = ImageDraw.Draw(canvas), max(3, round(max(size) / 260))
    for face, box in zip(faces, boxes, strict=True):
        _frame(draw, box, stroke, _COLOURS[face.colour])
    taken = list(boxes)
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True), 1):
        label = _label_of(face, number if len(faces) > 1 else None, box, max(size))
        if label.lines:
            taken.append(_write(canvas, label, box, taken))
    return canvas


def as_jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def as_address(jpeg: bytes) -> str:
    """A `data:` address, for a table's column of pictures."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def label_area(box: Area, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[Area]) -> Area:
    """Where a label of `size` goes: above its box, else below, else inside, whichever first covers least of what is
    `taken` by faces and other labels; always whole on the canvas where it fits at all."""
    width, height = size
    lefts, tops = (box.left, box.right - width), (box.top - height, box.bottom, box.top, box.bottom - height)
    corners = [(left, top) for top in tops for left in lefts]
    areas = [Area(left, top, left + width, top + height).moved_inside(*canvas) for left, top in corners]
    return min(areas, key=lambda area: sum(area.overlap(other) for other in taken))


def _area(box: Box, factor: float) -> Area:
    scaled = box.scaled(factor)
    return Area(scaled.x, scaled.y, scaled.x + scaled.width, scaled.y + scaled.height)


def _frame(draw: ImageDraw.ImageDraw, box: Area, stroke: int, colour: tuple[int, int, int]) -> None:
    """A coloured box with a white one around it, so that it shows on light and dark photos."""
    draw.rectangle([box.left - stroke, box.top - stroke, box.right + stroke, box.bottom + stroke], None, _WHITE, stroke)
    draw.rectangle([box.left, box.top, box.right, box.bottom], None, colour, stroke)


def _label_of(face: Mark, number: int | None, box: Area, longer: int) -> Label:
    """Letters follow the box, within what a page can show; in a crowd, small faces get the short form."""
    width = box.right - box.left
    letters = min(longer / 30, max(longer / 62, width / 6))
    colour = _COLOURS[face.colour]
    if number is None:
        return Label(face.lines, letters, colour)
    if not face.lines or width < 4 * letters:
        return Label((f"{number}: {face.short}" if face.short else f"{number}",), letters, colour)
    return Label((f"{number}: {face.lines[0]}", *face.lines[1:]), letters, colour)


def _write(canvas: Image.Image, label: Label, box: Area, taken: Sequence[Area]) -> Area:
    draw = ImageDraw.Draw(canvas)
    sizes = [label.letters, *[label.letters * 0.8] * (len(label.lines) - 1)]
    fonts = [ImageFont.load_default(round(size)) for size in sizes]
    extents = [draw.textbbox((0, 0), text, font=font) for text, font in zip(label.lines, fonts, strict=True)]
    padding = label.letters * 0.35
    width = max(right for _, _, right, _ in extents) + 2 * padding
    height = sum(bottom for _, _, _, bottom in extents) + padding * (len(extents) + 1)
    area = label_area(box, (width, height), canvas.size, taken)
    corners = [area.left, area.top, area.right, area.bottom]
    draw.rounded_rectangle(corners, label.letters * 0.25, label.colour, _WHITE)
    top = area.top + padding
    for text, font, (_, _, _, bottom) in zip(label.lines, fonts, extents, strict=True):
        draw.text((area.left + padding, top), text, _WHITE, font)
        top += bottom + padding
    return area
