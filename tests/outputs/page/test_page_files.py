"""The page's three files, without a browser: small, of one piece, and nothing from elsewhere."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from fer_edge.labels import EMOTIONS

FILES = resources.files("fer_edge.outputs.page") / "files"
HTML, CSS, JS = ((FILES / name).read_text("utf-8") for name in ("index.html", "page.css", "page.js"))

# Machado, Oliveira, Fernandes 2009, severity 1: what a colour-blind eye makes of linear red, green, blue.
EYES = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip
OKABE_ITO = ("#f0e442", "#56b4e9", "#999999", "#0072b2", "#cc79a7", "#009e73", "#d55e00")


class Elements(HTMLParser):
    """All elements of a page, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


ELEMENTS = Elements(HTML).found
IDS = [attributes["id"] for _, attributes in ELEMENTS if "id" in attributes]


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(light):
    """Ottosson 2020, times 100: a difference of 2 is just seen."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    sums = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return 100 * np.array(sums) @ np.cbrt(np.array(cones) @ np.clip(light, 0, 1))


def contrast(one, other):
    """As WCAG 2 has it."""
    dark, bright = sorted(linear(colour) @ (0.2126, 0.7152, 0.0722) for colour in (one, other))
    return (bright + 0.05) / (dark + 0.05)


def palettes():
    """The colours by day and by night."""
    day, night = CSS.split("@media (prefers-color-scheme: dark)")
    night = night[: night.index("\n}\n")]
    for part in (day, night):
        emotions = dict(re.findall(r"\.e-(\w+) \{ --c: (#\w{6}) \}", part))
        others = dict(re.findall(r"--([\w-]+): (#\w{3,6});", part))
        yield (
            emotions,
            {
                name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:])
                for name, value in others.items()
            },
        )


def order():
    """The emotions as the page stacks them."""
    return re.findall(r'"(\w+)"', re.search(r"const EMOTIONS = \[(.*)\];", JS)[1])


def test_the_files_are_small():
    sizes = [len((FILES / name).read_bytes()) for name in ("index.html", "page.css", "page.js")]
    assert sum(sizes) < 40_000, sizes


def test_nothing_is_loaded_from_elsewhere():
    for text in (HTML, CSS, JS):
        # Names of namespaces are compared, not asked for.
        assert set(re.findall(r"https?:[^\s\"'`)]*", text)) <= {"http://www.w3.org/${space}"}
        assert not re.search(r"[\"'`(=]\s*//\w", text)
        assert "@import" not in text
        assert "@font-face" not in text
    loaded = {
        value for _, attributes in ELEMENTS for name, value in attributes.items() if name in ("src", "href")
    }
    assert loaded == {"page.css", "page.js", "data:,", "api/video.mjpg"}
    assert set(re.findall(r"url\(([^)]*)\)", CSS + JS)) == {"#p-${name}"}
    asked = set(re.findall(r"[\"'`](api/[\w./]+)", JS))
    assert asked == {"api/events", "api/state", "api/timeline", "api/pause", "api/session", "api/mask"}
    assert "api/${kind}?" in JS


def test_a_strict_policy_is_enough():
    for tag, attributes in ELEMENTS:
        assert tag not in ("style", "iframe", "object", "embed", "base"), tag
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        if tag == "script":
            assert attributes == {"src": "page.js", "defer": None}
    assert HTML.count("<script") == 1
    for word in ("eval(", "new Function", '"style"', "import(", "<style", "javascript:"):
        assert word not in JS, word


def test_texts_are_put_in_as_texts():
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "createContextualFragment",
    ):
        assert word not in JS, word


def test_what_is_referred_to_exists():
    assert len(IDS) == len(set(IDS)), "an id twice"
    used = set(re.findall(r'\$\("([\w-]+)"\)|copy\("([\w-]+)"\)', JS))
    used = {one or other for one, other in used}
    told = re.search(r"const told = \{\n(.*?)\n\t\};", JS, re.S)[1]
    used |= {name.strip('"') for name in re.findall(r'^\t\t("?[\w-]+"?):', told, re.M)}
    for _, attributes in ELEMENTS:
        for name in ("for", "aria-labelledby", "aria-describedby"):
            used |= set(attributes.get(name, "").split())
    used |= set(re.findall(r'"aria-describedby": "([\w-]+)"', JS))
    assert used <= set(IDS), used - set(IDS)
    referred = set(IDS) - used
    assert not referred, "ids that nothing uses"
    classes = {name for _, attributes in ELEMENTS for name in attributes.get("class", "").split()}
    assert set(re.findall(r'find\(\w+, "\.([\w-]+)"\)', JS)) <= classes
    acts = set(re.findall(r"^\t(?:async )?(\w+)\(\w*\) \{$", JS[JS.index("const ACTS") :], re.M))
    assert {attributes["data-do"] for _, attributes in ELEMENTS if "data-do" in attributes} | {
        "remove"
    } <= acts


def test_what_is_typed_in_and_pressed_has_a_name():
    assert dict(ELEMENTS)["html"]["lang"] == "en"
    for tag, attributes in ELEMENTS:
        if tag == "input":
            assert re.search(rf'<label>[^<]+<input id="{attributes["id"]}"', HTML)
    assert not re.search(r"<button[^>]*></button>", HTML)
    assert HTML.count("<section") == len(re.findall(r'<section class="\w+" aria-label="[^"]+">', HTML))


def test_all_emotions_are_shown():
    assert sorted(order()) == sorted(EMOTIONS)
    assert set(re.findall(r"(\w+): \"", re.search(r"const HATCHES = \{(.*)\};", JS)[1])) == set(EMOTIONS)
    for emotions, _ in palettes():
        assert list(emotions) == order()


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("time", [0, 1], ids=["day", "night"])
def test_colours_stay_apart_for_every_eye(eye, time):
    emotions, _ = list(palettes())[time]
    seen = {name: oklab(EYES[eye] @ linear(colour)) for name, colour in emotions.items()}

    def apart(one, other):
        return float(np.linalg.norm(seen[one] - seen[other]))

    neighbours = min(apart(*pair) for pair in itertools.pairwise(order()))
    assert neighbours > 9.5, "bands that touch"
    assert min(apart(*pair) for pair in itertools.combinations(order(), 2)) > 7


def test_they_stay_further_apart_than_those_of_okabe_and_ito():
    def least(colours):
        return min(
            float(np.linalg.norm(oklab(EYES[eye] @ linear(one)) - oklab(EYES[eye] @ linear(other))))
            for eye in EYES
            for one, other in itertools.combinations(colours, 2)
        )

    for emotions, _ in palettes():
        assert least(emotions.values()) > least(OKABE_ITO)


@pytest.mark.parametrize("time", [0, 1], ids=["day", "night"])
def test_inks_can_be_read_on_both_papers(time):
    _, colours = list(palettes())[time]
    for ink in ("ink", "soft", "accent", "good", "warn", "bad"):
        for paper in ("paper", "bg"):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert contrast(colours["paper"], colours["accent"]) >= 4.5, "the main button"


def test_movement_is_only_for_those_who_want_it():
    wanted = CSS.index("@media (prefers-reduced-motion: no-preference)")
    assert "transition" not in CSS[:wanted]
    assert "animation" not in CSS
