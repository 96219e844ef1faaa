"""Pictures, animations and films that tests write: a gradient with a marked corner, and levels of grey."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image


def gradient(width=40, height=30):
    """BGR: brighter to the right and downwards, with a white top-left corner."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 120, width, dtype=np.uint8)
    picture[..., 1] = np.linspace(40, 200, height, dtype=np.uint8)[:, None]
    picture[..., 2] = 60
    picture[:4, :4] = 255
    return picture


def grey(level, size=(32, 24)):
    return np.full((size[1], size[0], 3), level, np.uint8)


def write_film(path, pictures, codec="MJPG", fps=10.0):
    """Write a film of BGR pictures of one size; returns ``path``."""
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    size = (width, height)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def encoded(suffix, picture):
    """The bytes of a picture in the format that ``suffix`` names, by OpenCV or Pillow."""
    if suffix == ".pgm" and picture.ndim == 3:
        picture = picture[:, :, 1]
    if suffix in (".gif", ".avif", ".jp2"):
        stream = io.BytesIO()
        Image.fromarray(picture[:, :, ::-1]).save(
            stream, {".gif": "GIF", ".avif": "AVIF", ".jp2": "JPEG2000"}[suffix]
        )
        return stream.getvalue()
    done, content = cv2.imencode(suffix, picture)
    assert done
    return content.tobytes()


def animation(kind, levels, durations):
    """The bytes of an animated picture (``GIF``, ``WEBP``, ``PNG``, ``AVIF``); durations in milliseconds."""
    frames = [Image.fromarray(grey(level)) for level in levels]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], duration=list(durations), loop=0)
    return stream.getvalue()
