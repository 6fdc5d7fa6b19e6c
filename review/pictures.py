"""Boxes and labels drawn on a photo, legible at any size of photo: the canvas is scaled first, the text after it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from review.words import gender_colour, gender_share, gender_words
from tasks.decode import Photo
from tasks.predict import Judged

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

    def overlaps(self, other: "Area") -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.top < other.bottom and other.top < self.bottom

    def moved_inside(self, width: float, height: float) -> "Area":
        """Pushed away from the canvas's edges; its left upper corner stays on it in any case."""
        left = max(0.0, min(self.left, width - (self.right - self.left)))
        top = max(0.0, min(self.top, height - (self.bottom - self.top)))
        return Area(left, top, left + self.right - self.left, top + self.bottom - self.top)


def with_faces(photo: Photo, faces: Sequence[Judged]) -> Image.Image:
    """The upright photo with a box and a label for each face. Boxes are in pixels of the full-size photo."""
    picture = Image.fromarray(photo.pixels)
    longer = max(picture.size)
    factor = min(max(longer, _SMALLEST_CANVAS), CANVAS_SIDE) / longer
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    canvas = picture.resize(size, Image.Resampling.LANCZOS)
    boxes = [_area(face, photo.scale * factor) for face in faces]
    draw = ImageDraw.Draw(canvas)
    stroke = max(3, round(max(size) / 260))
    for face, box in zip(faces, boxes, strict=True):
        _frame(draw, box, stroke, _COLOURS[gender_colour(face.female)])
    taken: list[Area] = []
    for number, (face, box) in enumerate(zip(faces, boxes, strict=True), 1):
        words = _words(face)
        if len(faces) > 1:
            words[0] = f"{number}: {words[0]}"
        taken.append(_label(draw, canvas.size, words, _COLOURS[gender_colour(face.female)], box, taken))
    return canvas


def as_jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def as_address(jpeg: bytes) -> str:
    """A `data:` address, for a table's column of pictures."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def label_area(box: Area, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[Area]) -> Area:
    """Where a label of `size` goes: above its box, else below, else inside, whichever first covers no other label;
    always whole on the canvas."""
    width, height = size
    tops = (box.top - height, box.bottom, box.top, box.bottom - height)
    areas = [Area(box.left, top, box.left + width, top + height).moved_inside(*canvas) for top in tops]
    on_canvas = [area for area, top in zip(areas, tops, strict=True) if area.top == top] or areas
    free = [area for area in on_canvas if not any(area.overlaps(other) for other in taken)]
    return (free or on_canvas)[0]


def _area(face: Judged, factor: float) -> Area:
    box = face.box.scaled(factor)
    return Area(box.x, box.y, box.x + box.width, box.y + box.height)


def _frame(draw: ImageDraw.ImageDraw, box: Area, stroke: int, colour: tuple[int, int, int]) -> None:
    """A coloured box with a white one around it, so that it shows on light and dark photos."""
    draw.rectangle([box.left - stroke, box.top - stroke, box.right + stroke, box.bottom + stroke], None, _WHITE, stroke)
    draw.rectangle([box.left, box.top, box.right, box.bottom], None, colour, stroke)


def _label(draw: ImageDraw.ImageDraw, canvas: tuple[int, int], face: Judged, box: Area, taken: Sequence[Area]) -> Area:
    longer = max(canvas)
    letters = min(longer / 30, max(longer / 62, (box.right - box.left) / 6))
    large, small = ImageFont.load_default(round(letters)), ImageFont.load_default(round(letters * 0.8))
    lines = [(f"{face.age:.0f} years ({face.age_low:.0f}-{face.age_high:.0f})", large)]
    if face.female is not None:
        lines.append((f"{gender_words(face.female)}, {gender_share(face.female)}", small))
    padding = letters * 0.35
    extents = [draw.textbbox((0, 0), text, font=font) for text, font in lines]
    width = max(right for _, _, right, _ in extents) + 2 * padding
    height = sum(bottom for _, _, _, bottom in extents) + padding * (len(lines) + 1)
    area = label_area(box, (width, height), canvas, taken)
    draw.rounded_rectangle(
        [area.left, area.top, area.right, area.bottom], letters * 0.25, _COLOURS[gender_colour(face.female)], _WHITE
    )
    top = area.top + padding
    for (text, font), (_, _, _, bottom) in zip(lines, extents, strict=True):
        draw.text((area.left + padding, top), text, _WHITE, font)
        top += bottom + padding
    return area
