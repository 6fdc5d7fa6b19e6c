"""A workspace of labelled faces whose ages `tiny_model` knows exactly: plain grey crops, a quarter of whose brightness
is the age."""

from collections.abc import Sequence

import numpy as np

from storage.workspace import Workspace, open_workspace
from tasks.crop import encode_crop
from tests.rows import face_row, faces, file_row, files, label_row, labels


def grey_faces(
    url: str, count: int = 60, *, sides: Sequence[str] = ("val", "test"), with_genders: bool = True
) -> Workspace:
    """As many are of each side; of two cameras; women are the lighter half."""
    workspace = open_workspace(url)
    ages = np.linspace(8, 60, count).round()
    names = [f"{index}.jpg" for index in range(count)]
    crops = [encode_crop(np.full((128, 128, 3), int(4 * age), np.uint8)) for age in ages]
    workspace.append("files", files(*(file_row(name) for name in names)))
    workspace.append("faces", faces(*(face_row(name, crop=crop) for name, crop in zip(names, crops, strict=True))))
    known = [
        label_row(
            name,
            age=float(age),
            gender=("female" if age > 127.5 / 4 else "male") if with_genders else None,
            groups=[("split", sides[index % len(sides)]), ("camera", "ab"[index // 2 % 2])],
        )
        for index, (name, age) in enumerate(zip(names, ages, strict=True))
    ]
    workspace.append("labels", labels(*known))
    return workspace
