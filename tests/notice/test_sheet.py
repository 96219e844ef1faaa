"""The notice for the door, in each language."""

from __future__ import annotations

import html.parser
import re
import shutil
from datetime import date

import pytest

from fer_edge import chromium
from fer_edge.chromium import MissingBrowserError, write_pdf
from fer_edge.errors import OutputError
from fer_edge.labels import EMOTIONS
from fer_edge.notice.facts import DAY, Facts, Kept, Sent
from fer_edge.notice.languages import Words, languages, words_of
from fer_edge.notice.sheet import Details, as_html, as_text, sections
from fer_edge.option import FileLimit

NOTHING = Facts((), (), masked=False)
LIMITS = (FileLimit(size=20 * 10**9), FileLimit(seconds=30 * DAY))
EVERYTHING = Facts(
    (
        Kept("visits", (FileLimit(seconds=90 * DAY),)),
        Kept("seconds", (FileLimit(seconds=DAY),)),
        Kept("lines", LIMITS),
        Kept("film", LIMITS),
        Kept("picture"),
    ),
    (
        Sent("page", "0.0.0.0:8080", "blurred"),
        Sent("broker", "broker.example", "full"),
        Sent("monitor", "fer-edge.prom"),
        Sent("program", "standard output", local=True),
    ),
    masked=True,
)
TABLES = ("heading", "what", "kept", "limit", "sent", "rights", "foot")
DAY_OF_PRINT = Details(date(2026, 11, 26))
FULL = Details(
    date(2026, 11, 26),
    "Blumen Meier GmbH\nHauptstraße 1, 53111 Bonn",
    "datenschutz@blumen-meier.example\n0228 123456",
    "Wirkung der Schaufenster",
    "https://blumen-meier.example/datenschutz",
)


def texts(words: Words) -> dict[str, str]:
    """All words of a language by their keys."""
    told = {"title": words.title, "lead": words.lead}
    for table in TABLES:
        told |= {f"{table}.{key}": text for key, text in getattr(words, table).items()}
    return told


def points(facts, language="en"):
    return dict(sections(facts, words_of(language)))


def test_there_are_the_languages_that_are_promised():
    assert set(languages()) >= {"en", "de", "fr", "es", "it", "nl", "pl"}
    with pytest.raises(KeyError):
        words_of("../en")


@pytest.mark.parametrize("language", languages())
def test_each_language_says_everything(language):
    english, words = texts(words_of("en")), texts(words_of(language))
    assert words.keys() == english.keys()
    for key, text in words.items():
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", english[key]), key
        # A sentence there is a sentence here, a heading a heading.
        assert text.endswith(".") == english[key].endswith("."), key
        assert text == text.strip() and "  " not in text
    # Words that are the same, and units.
    same = {key for key in words if words[key] == english[key]} - {"limit.gigabytes", "limit.megabytes"}
    assert language == "en" or same <= {"heading.contact"}, same
    for figure in ("50", "3", "2024/1689"):
        assert figure in words["foot.basis"]
    # As many emotions as there are: commas, and a last one behind a word.
    assert words["what.estimate"].count(",") >= len(EMOTIONS) - 2


def test_nothing_is_told_as_nothing():
    told = points(NOTHING)
    assert told["What is stored"] == ["Nothing."]
    assert told["What leaves the device"] == ["Nothing. Everything is computed on a device of the operator."]
    assert len(told["What the system does"]) == 4


def test_everything_is_told():
    told = points(EVERYTHING)
    assert told["What the system does"][-1].startswith("Parts of the picture are hidden")
    visits, seconds, lines, film, picture = told["What is stored"]
    assert visits.endswith("for each minute the totals. Deleted after 90 days at the latest.")
    assert seconds.endswith("the same for each second. Deleted after 24 hours at the latest.")
    assert lines.endswith(" The oldest are deleted above 20 GB. Deleted after 30 days at the latest.")
    assert film.startswith("Video recordings in which people can be recognised. The oldest")
    assert picture.endswith("can be recognised. Kept until deleted by the operator.")
    page, broker, monitor, program = told["What leaves the device"]
    assert page.endswith("access code. The whole picture is coarsely pixelated.")
    assert "at broker.example. The picture is included." in broker
    assert monitor.endswith("the monitoring of the device. No picture.")
    assert program.endswith("another program of the operator. No picture.")


def test_a_store_alone_keeps_no_pictures():
    facts = Facts((Kept("visits", (FileLimit(seconds=DAY * 2.2),)),), (), False)
    visits, pictures = points(facts)["What is stored"]
    assert visits.endswith("Deleted after 3 days at the latest."), "rounded up"
    assert pictures == "No pictures are stored."


def test_small_limits_have_units_of_their_own():
    limits = (FileLimit(size=500 * 10**6), FileLimit(seconds=60.0))
    (film,) = points(Facts((Kept("film", limits),), (), False), "fr")["Ce qui est conservé"]
    assert "Au-delà de 500 Mo," in film
    assert "après 2 heures" in film, "a promise is not cut short"


@pytest.mark.parametrize(
    ("language", "days", "hours", "kept"),
    [
        (
            "en",
            "Deleted after 30 days at the latest.",
            "Deleted after 24 hours at the latest.",
            "Kept until deleted by the operator.",
        ),
        (
            "de",
            "Löschung nach spätestens 30 Tagen.",
            "Löschung nach spätestens 24 Stunden.",
            "Aufbewahrung bis zur Löschung durch den Betreiber.",
        ),
        (
            "es",
            "Eliminación, a más tardar, a los 30 días.",
            "Eliminación, a más tardar, a las 24 horas.",
            "Conservación hasta su eliminación por el responsable.",
        ),
        (
            "nl",
            "Verwijdering uiterlijk na 30 dagen.",
            "Verwijdering uiterlijk na 24 uur.",
            "Bewaring tot verwijdering door de verantwoordelijke.",
        ),
    ],
)
def test_how_long_is_told_alike_of_one_and_of_many(language, days, hours, kept):
    limits = [(FileLimit(seconds=30 * DAY),), (FileLimit(seconds=DAY),), ()]
    words = words_of(language)
    for limit, told in zip(limits, (days, hours, kept), strict=True):
        # The positions of faces at each frame, and films: one noun and several.
        facts = Facts((Kept("lines", limit), Kept("film", limit)), (), False)
        lines, film = points(facts, language)[words.heading["kept"]]
        assert lines == f"{words.kept['lines']} {told}"
        assert film == f"{words.kept['film']} {told}"


def test_a_page_for_this_device_alone_leaves_nothing():
    facts = Facts((), (Sent("page", "127.0.0.1:8080", "full", local=True),), False)
    assert points(facts)["What leaves the device"][0].startswith("Nothing.")


class Page(html.parser.HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_page_has_a_sheet_for_each_language_and_loads_nothing():
    text = as_html(EVERYTHING, FULL, languages())
    page = Page(text)
    assert page.open == []
    sheets = [attributes["lang"] for tag, attributes in page.tags if tag == "article"]
    assert sheets == list(languages())
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "href", "srcset", "data", "action", "onload"}
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"} == set()
    assert "url(" not in text and "@import" not in text
    told = " ".join(page.text)
    for language in languages():
        assert words_of(language).title in told
    # Nothing is left to be filled in.
    assert not re.search(r"\{\w+\}", re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))


def test_what_is_not_given_is_left_to_fill_in():
    assert as_html(NOTHING, DAY_OF_PRINT, ["en"]).count('class="blank"') == 3
    assert as_text(NOTHING, DAY_OF_PRINT, ["en"]).count("____") >= 3
    page = as_html(NOTHING, FULL, ["en"])
    assert 'class="blank"' not in page
    assert "<dd>Blumen Meier GmbH<br>Hauptstraße 1, 53111 Bonn</dd>" in page
    assert "More information" in page and "More information" not in as_html(NOTHING, DAY_OF_PRINT, ["en"])


def test_what_the_operator_writes_is_text():
    page = as_html(NOTHING, Details(date(2026, 1, 2), '<script>alert("x")</script> & Co'), ["en"])
    assert "<script" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; Co" in page


def test_as_text_it_says_the_same():
    text = as_text(EVERYTHING, FULL, ["de", "en"])
    assert "Operator: Blumen Meier GmbH, Hauptstraße 1, 53111 Bonn" in text
    flat = re.sub(r"\s+", " ", text)
    for language in ("de", "en"):
        for heading, told in sections(EVERYTHING, words_of(language)):
            assert heading in flat
            for point in told:
                assert point in flat
    assert max(map(len, text.splitlines())) <= 100
    assert "As of 2026-11-26" in flat


def test_the_font_is_smaller_where_there_is_more_to_tell():
    sizes = [
        float(re.search(r'style="font-size: ([\d.]+)pt', as_html(facts, FULL, ["de"]))[1])
        for facts in (NOTHING, EVERYTHING)
    ]
    assert sizes[0] > sizes[1] >= 9.4


def test_without_a_browser_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    with pytest.raises(MissingBrowserError, match=r"none is installed \(sudo apt install chromium\)"):
        write_pdf("<p>x</p>", tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_prints_nothing_is_an_error(monkeypatch, tmp_path):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho 'no display' >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: str(fake))
    with pytest.raises(OutputError, match=r"a\.pdf: .*made no PDF \(exit code 3\): no display"):
        write_pdf("<p>x</p>", tmp_path / "a.pdf")
    assert [one.name for one in tmp_path.iterdir()] == ["chromium"]


@pytest.mark.services
@pytest.mark.parametrize(
    "facts",
    [
        NOTHING,
        Facts(EVERYTHING.kept[:2], (), masked=True),
        Facts(EVERYTHING.kept, (), masked=True),
        EVERYTHING,
    ],
    ids=["nothing", "store", "pictures", "everything"],
)
def test_each_language_fits_on_a_sheet_of_a4(tmp_path, facts):
    assert any(map(shutil.which, chromium.BROWSERS)), "Debian's package chromium prints"
    path = tmp_path / "notice.pdf"
    write_pdf(as_html(facts, FULL, languages()), path)
    pdf = path.read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf)) == len(languages())
    # A4 is 595 by 842 points.
    boxes = {
        tuple(round(float(one)) for one in box.split())
        for box in re.findall(rb"/MediaBox\s*\[([^]]*)\]", pdf)
    }
    assert boxes == {(0, 0, 595, 842)}
