"""Paints the demo's clips: a canvas of three planes, four scenes, a small font."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import av

WIDTH_PIXELS = 1280
HEIGHT_PIXELS = 720
CAPTION_PIXELS = 52
FONT_SCALE = 4

Colour = tuple[int, int, int]
"""Y, U, V as in video: Y from 16 (black) to 235 (white), U and V around 128."""

BLACK, WHITE, GREY = (16, 128, 128), (225, 128, 128), (110, 128, 128)
ASPHALT, CONCRETE, SKY = (78, 130, 126), (138, 126, 130), (176, 140, 118)
RED, BLUE, GREEN = (84, 104, 190), (80, 172, 112), (96, 108, 108)
YELLOW, BROWN, SKIN = (170, 60, 142), (74, 116, 146), (160, 112, 146)
GLASS, SILVER, LAWN = (60, 138, 122), (178, 129, 127), (104, 104, 116)


class Canvas:
    """A picture of WIDTH_PIXELS by HEIGHT_PIXELS in yuv420p; parts outside of it are not painted."""

    def __init__(self, planes: list[bytearray] | None = None) -> None:
        size = WIDTH_PIXELS * HEIGHT_PIXELS
        self.planes = planes or [bytearray(size), bytearray(size // 4), bytearray(size // 4)]

    def copy(self) -> Canvas:
        return Canvas([bytearray(plane) for plane in self.planes])

    def frame(self) -> av.VideoFrame:
        frame = av.VideoFrame(WIDTH_PIXELS, HEIGHT_PIXELS, "yuv420p")
        for plane, content in zip(frame.planes, self.planes, strict=True):
            plane.update(bytes(content))
        return frame

    def row(self, y: int, left: float, right: float, colour: Colour) -> None:
        """One line of pixels from `left` to `right`."""
        start, end = max(0, int(left)), min(WIDTH_PIXELS, int(right))
        if end <= start or not 0 <= y < HEIGHT_PIXELS:
            return
        self.planes[0][y * WIDTH_PIXELS + start : y * WIDTH_PIXELS + end] = bytes((colour[0],)) * (end - start)
        if y % 2:
            return
        half, start, end = WIDTH_PIXELS // 2, start // 2, (end + 1) // 2
        for plane, value in zip(self.planes[1:], colour[1:], strict=True):
            plane[y // 2 * half + start : y // 2 * half + end] = bytes((value,)) * (end - start)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        for line in range(int(y), int(y + height)):
            self.row(line, x, x + width, colour)

    def slope(self, top: tuple[float, float, float], bottom: tuple[float, float, float], colour: Colour) -> None:
        """A trapezium between two lines, each ``(y, left, right)``: floors, roads and bay lines in perspective."""
        height = max(1.0, bottom[0] - top[0])
        for line in range(int(top[0]), int(bottom[0])):
            share = (line - top[0]) / height
            left = top[1] + (bottom[1] - top[1]) * share
            self.row(line, left, top[2] + (bottom[2] - top[2]) * share, colour)

    def disc(self, x: float, y: float, radius_x: float, radius_y: float, colour: Colour) -> None:
        for line in range(int(y - radius_y), int(y + radius_y) + 1):
            reach = 1 - ((line - y) / radius_y) ** 2
            if reach > 0:
                self.row(line, x - radius_x * math.sqrt(reach), x + radius_x * math.sqrt(reach), colour)

    def shade(self, top: int, bottom: int, upper: Colour, lower: Colour) -> None:
        """The full width from one colour to another, top to bottom."""
        for line in range(top, bottom):
            share = (line - top) / max(1, bottom - top - 1)
            mixed = [round(a + (b - a) * share) for a, b in zip(upper, lower, strict=True)]
            self.row(line, 0, WIDTH_PIXELS, (mixed[0], mixed[1], mixed[2]))


@dataclass(frozen=True, slots=True)
class Scene:
    """`paint` draws what stands still, `move` what moves, at so many seconds of the camera's time."""

    name: str
    paint: Callable[[Canvas], None]
    move: Callable[[Canvas, float], None]


# --- objects ---------------------------------------------------------------------------------------
def _darker(colour: Colour, share: float = 0.6) -> Colour:
    return (max(16, int(colour[0] * share)), colour[1], colour[2])


def _car(canvas: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    """Seen from the side; `x`, `y` is the ground below its middle, `size` its length."""
    canvas.disc(x, y, size * 0.52, size * 0.05, _darker(ASPHALT))
    canvas.slope(
        (y - size * 0.40, x - size * 0.20, x + size * 0.18), (y - size * 0.24, x - size * 0.32, x + size * 0.3), colour
    )
    canvas.slope(
        (y - size * 0.37, x - size * 0.18, x + size * 0.16), (y - size * 0.25, x - size * 0.27, x + size * 0.25), GLASS
    )
    canvas.box(x - size * 0.02, y - size * 0.38, size * 0.03, size * 0.14, colour)
    canvas.box(x - size * 0.5, y - size * 0.25, size, size * 0.17, colour)
    canvas.box(x - size * 0.5, y - size * 0.12, size, size * 0.04, _darker(colour))
    for wheel in (-0.3, 0.3):
        canvas.disc(x + size * wheel, y - size * 0.07, size * 0.085, size * 0.085, BLACK)
        canvas.disc(x + size * wheel, y - size * 0.07, size * 0.04, size * 0.04, SILVER)


def _person(canvas: Canvas, x: float, y: float, size: float, coat: Colour, *, step: float) -> None:
    """`x`, `y` is the ground between the feet, `size` the height; `step` swings legs and arms."""
    swing = size * 0.09 * math.sin(step)
    canvas.disc(x, y, size * 0.2, size * 0.03, _darker(ASPHALT))
    for side in (-1, 1):
        canvas.slope(
            (y - size * 0.46, x - size * 0.07, x + size * 0.07),
            (y, x + side * swing - size * 0.045, x + side * swing + size * 0.045),
            _darker(BLUE),
        )
        canvas.slope(
            (y - size * 0.78, x + side * size * 0.1 - size * 0.04, x + side * size * 0.1 + size * 0.04),
            (y - size * 0.42, x + side * size * 0.13 - side * swing - 4, x + side * size * 0.13 - side * swing + 4),
            _darker(coat, 0.8),
        )
    canvas.slope(
        (y - size * 0.82, x - size * 0.11, x + size * 0.11), (y - size * 0.42, x - size * 0.12, x + size * 0.12), coat
    )
    canvas.disc(x, y - size * 0.91, size * 0.065, size * 0.085, SKIN)
    canvas.disc(x, y - size * 0.95, size * 0.07, size * 0.055, BROWN)


def _lorry(canvas: Canvas, x: float, y: float, size: float) -> None:
    """`x` is its front, driving to the right."""
    canvas.disc(x - size * 0.5, y, size * 0.55, size * 0.03, _darker(ASPHALT))
    canvas.box(x - size, y - size * 0.42, size * 0.74, size * 0.36, SILVER)
    canvas.box(x - size * 0.98, y - size * 0.28, size * 0.7, size * 0.05, BLUE)
    canvas.box(x - size * 0.25, y - size * 0.33, size * 0.24, size * 0.27, RED)
    canvas.box(x - size * 0.13, y - size * 0.30, size * 0.11, size * 0.10, GLASS)
    for wheel in (0.12, 0.62, 0.8):
        canvas.disc(x - size * wheel, y - size * 0.05, size * 0.055, size * 0.055, BLACK)
        canvas.disc(x - size * wheel, y - size * 0.05, size * 0.025, size * 0.025, SILVER)


def _tree(canvas: Canvas, x: float, y: float, size: float) -> None:
    canvas.box(x - size * 0.05, y - size * 0.45, size * 0.1, size * 0.45, BROWN)
    for dx, dy, radius in ((0, 0.75, 0.28), (-0.2, 0.6, 0.2), (0.2, 0.6, 0.2)):
        canvas.disc(x + dx * size, y - dy * size, radius * size, radius * size, (70, 108, 112))
    canvas.disc(x - 0.05 * size, y - 0.8 * size, 0.16 * size, 0.14 * size, (88, 106, 110))


# --- scenes ---------------------------------------------------------------------------------------
def _shop(canvas: Canvas) -> None:
    canvas.shade(0, 330, (150, 120, 134), (172, 120, 134))
    canvas.shade(330, 720, (120, 122, 132), (168, 124, 130))
    for column in range(-9, 10):  # tiles
        canvas.slope((330, 640 + column * 60, 642 + column * 60), (720, 640 + column * 190, 645 + column * 190), GREY)
    for line in (345, 370, 405, 455, 525, 620):
        canvas.box(0, line, WIDTH_PIXELS, 2 + line // 200, GREY)
    canvas.box(470, 90, 340, 262, SILVER)
    canvas.box(482, 102, 152, 246, SKY)
    canvas.box(646, 102, 152, 246, SKY)
    canvas.box(482, 250, 316, 98, ASPHALT)
    canvas.box(620, 200, 10, 60, BLACK)
    canvas.box(650, 200, 10, 60, BLACK)
    for side in (60, 900):  # shelves
        canvas.box(side, 110, 320, 330, _darker(BROWN, 0.8))
        for shelf in range(4):
            for item in range(10):
                colour = (RED, YELLOW, BLUE, WHITE, GREEN)[(shelf * 3 + item) % 5]
                canvas.box(side + 10 + item * 30, 130 + shelf * 78, 22, 48, colour)
            canvas.box(side, 178 + shelf * 78, 320, 8, SILVER)


def _shop_moves(canvas: Canvas, at: float) -> None:
    for index, coat in enumerate((RED, BLUE)):
        share = (at / 17 + index * 0.45) % 1
        near = math.sin(share * math.pi)
        x = 640 + (120 - 240 * index) * near + 40 * math.sin(at * 0.7)
        _person(canvas, x, 360 + 290 * near, 150 + 230 * near, coat, step=at * 6)


def _car_park(canvas: Canvas) -> None:
    canvas.shade(0, 190, (196, 140, 120), (170, 134, 124))
    canvas.box(0, 120, 430, 110, (120, 122, 136))
    canvas.box(430, 90, 380, 140, (146, 126, 130))
    for window in range(9):
        canvas.box(450 + window * 40, 115, 24, 34, GLASS)
        canvas.box(450 + window * 40, 170, 24, 34, GLASS)
    canvas.box(810, 140, 470, 90, (96, 114, 134))
    canvas.shade(230, 720, (92, 129, 127), (70, 130, 126))
    for bay in range(9):
        canvas.slope((300, 110 + bay * 130, 114 + bay * 130), (420, 30 + bay * 150, 38 + bay * 150), WHITE)
        canvas.slope((600, -40 + bay * 175, -32 + bay * 175), (720, -130 + bay * 195, -118 + bay * 195), WHITE)
    for bay, colour in ((0, RED), (1, SILVER), (3, BLUE), (4, BLACK), (6, WHITE), (7, GREEN)):
        _car(canvas, 150 + bay * 142, 385, 118, colour)
    for x in (250, 1040):
        canvas.box(x, 40, 8, 230, _darker(SILVER))
        canvas.box(x - 40, 40, 80, 8, _darker(SILVER))


def _car_park_moves(canvas: Canvas, at: float) -> None:
    _person(canvas, 1200 - (at * 38) % 1500, 470, 120, YELLOW, step=at * 7)
    _car(canvas, -200 + (at * 130) % 1900, 560, 260, RED)
    _car(canvas, 1500 - (at * 95 + 700) % 2300, 690, 310, SILVER)


def _depot(canvas: Canvas) -> None:
    canvas.shade(0, 310, (120, 132, 124), (158, 130, 126))
    for tree in range(12):
        canvas.disc(545 + tree * 66, 292, 52, 30 + tree * 7 % 13, (64, 112, 116))
    canvas.box(0, 110, 520, 200, CONCRETE)
    for door in range(3):
        canvas.box(40 + door * 160, 160, 120, 150, (96, 130, 126))
        for slat in range(9):
            canvas.box(40 + door * 160, 172 + slat * 16, 120, 2, (70, 130, 126))
    canvas.shade(310, 720, (100, 128, 128), (84, 128, 128))
    canvas.slope((310, 560, 760), (720, 260, 1180), ASPHALT)
    for dash in range(6):
        top = 320 + dash * dash * 14
        canvas.box(664 - dash * 3, top, 6 + dash * 3, 10 + dash * 8, YELLOW)
    canvas.box(840, 230, 150, 130, WHITE)
    canvas.box(856, 250, 118, 52, GLASS)
    canvas.box(830, 220, 170, 12, RED)
    for post in range(14):
        canvas.box(1000 + post * 22, 250, 4, 120, _darker(SILVER))
    canvas.box(1000, 262, 280, 5, _darker(SILVER))
    canvas.box(1000, 345, 280, 5, _darker(SILVER))


def _depot_moves(canvas: Canvas, at: float) -> None:
    cycle = at % 24
    lift = min(1.0, max(0.0, (cycle - 4) / 3)) - min(1.0, max(0.0, (cycle - 18) / 3))
    _lorry(canvas, -100 + max(0.0, cycle - 2) * 100, 600, 620)
    canvas.box(836, 330, 18, 120, YELLOW)
    for piece in range(23):  # the barrier, red and white, turning on its post
        angle = lift * 1.35
        x, y = 840 - piece * 24 * math.cos(angle), 345 - piece * 24 * math.sin(angle)
        width, height = 10 + 16 * math.cos(angle), 12 + 14 * math.sin(angle)
        canvas.box(x - width / 2, y, width, height, RED if piece % 2 else WHITE)
    _person(canvas, 930 + 40 * math.sin(at * 0.4), 420, 130, YELLOW, step=at * 4)


def _school(canvas: Canvas) -> None:
    canvas.shade(0, 300, (190, 142, 116), (206, 134, 122))
    canvas.box(180, 70, 920, 240, (128, 116, 148))
    canvas.box(160, 56, 960, 18, (80, 118, 146))
    for storey in range(2):
        for window in range(11):
            canvas.box(212 + window * 80, 100 + storey * 105, 52, 62, WHITE)
            canvas.box(216 + window * 80, 104 + storey * 105, 44, 54, GLASS)
    canvas.box(592, 196, 96, 114, WHITE)
    canvas.box(600, 204, 80, 106, BROWN)
    canvas.box(638, 204, 4, 106, BLACK)
    canvas.shade(300, 380, (96, 104, 114), LAWN)
    canvas.shade(380, 720, (134, 126, 131), (112, 126, 131))
    canvas.slope((440, 340, 940), (446, 330, 950), WHITE)
    canvas.slope((440, 340, 346), (690, 150, 162), WHITE)
    canvas.slope((440, 934, 940), (690, 1118, 1130), WHITE)
    canvas.slope((682, 155, 1125), (692, 150, 1130), WHITE)
    canvas.slope((440, 637, 643), (690, 635, 645), WHITE)
    for x, size in ((90, 300), (1190, 320)):
        _tree(canvas, x, 400, size)


def _school_moves(canvas: Canvas, at: float) -> None:
    ball = (640 + 360 * math.sin(at * 0.9), 560 + 70 * math.sin(at * 1.3) - 60 * abs(math.sin(at * 2.4)))
    for index, coat in enumerate((RED, BLUE, YELLOW, GREEN, WHITE)):
        phase = at * (0.35 + index * 0.06) + index * 1.3
        y = 490 + 38 * index + 25 * math.sin(phase * 1.7)
        _person(canvas, 640 + 380 * math.sin(phase), y, 60 + y * 0.14, coat, step=at * 8 + index)
    canvas.disc(ball[0], ball[1], 9, 9, WHITE)


SCENES = (
    Scene("Shop door", _shop, _shop_moves),
    Scene("Car park", _car_park, _car_park_moves),
    Scene("Depot gate", _depot, _depot_moves),
    Scene("School yard", _school, _school_moves),
)


# --- letters --------------------------------------------------------------------------------------
GLYPH_ROWS = 7
GLYPH_COLUMNS = 5
FONT = {
    " ": "00 00 00 00 00 00 00",
    "-": "00 00 00 1f 00 00 00",
    ":": "00 0c 0c 00 0c 0c 00",
    "0": "0e 11 13 15 19 11 0e",
    "1": "04 0c 04 04 04 04 0e",
    "2": "0e 11 01 02 04 08 1f",
    "3": "1f 02 04 02 01 11 0e",
    "4": "02 06 0a 12 1f 02 02",
    "5": "1f 10 1e 01 01 11 0e",
    "6": "06 08 10 1e 11 11 0e",
    "7": "1f 01 02 04 08 08 08",
    "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 0c",
    "A": "0e 11 11 1f 11 11 11",
    "C": "0e 11 10 10 10 11 0e",
    "D": "1c 12 11 11 11 12 1c",
    "E": "1f 10 10 1e 10 10 1f",
    "G": "0e 11 10 17 11 11 0f",
    "H": "11 11 11 1f 11 11 11",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1f",
    "O": "0e 11 11 11 11 11 0e",
    "P": "1e 11 11 1e 10 10 10",
    "R": "1e 11 11 1e 14 12 11",
    "S": "0f 10 10 0e 01 01 1e",
    "T": "1f 04 04 04 04 04 04",
    "Y": "11 11 11 0a 04 04 04",
}
"""Five dots by seven, a byte a row: the letters of the cameras' names, and what a clock needs."""


def paint_caption(canvas: Canvas, name: str, clock: str) -> None:
    """The camera's name on the left and the clock on the right, on a dark bar along the top."""
    bar = _bar(name, clock)
    canvas.planes[0][: len(bar)] = bar
    for plane in canvas.planes[1:]:
        plane[: len(bar) // 4] = bytes((128,)) * (len(bar) // 4)


@lru_cache(maxsize=2)
def _bar(name: str, clock: str) -> bytes:
    bar = Canvas([bytearray(bytes((BLACK[0],)) * (WIDTH_PIXELS * CAPTION_PIXELS)), bytearray(), bytearray()])
    _write(bar, name.upper(), 16)
    _write(bar, clock, WIDTH_PIXELS - 16 - len(clock) * (GLYPH_COLUMNS + 1) * FONT_SCALE)
    return bytes(bar.planes[0])


def _write(bar: Canvas, text: str, left: int) -> None:
    top = (CAPTION_PIXELS - GLYPH_ROWS * FONT_SCALE) // 2
    for place, letter in enumerate(text):
        for row, bits in enumerate(bytes.fromhex(FONT[letter])):
            for column in range(GLYPH_COLUMNS):
                if bits >> (GLYPH_COLUMNS - 1 - column) & 1:
                    x = left + (place * (GLYPH_COLUMNS + 1) + column) * FONT_SCALE
                    for line in range(FONT_SCALE):
                        start = (top + row * FONT_SCALE + line) * WIDTH_PIXELS + x
                        bar.planes[0][start : start + FONT_SCALE] = bytes((WHITE[0],)) * FONT_SCALE
