"""The configuration of a run: four places, one precedence, and errors that name line, key and remedy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import repository_module

import fer_edge
from fer_edge.commands import command_parsers
from fer_edge.config import OPTIONS, Config, ConfigError, load, to_toml, with_store
from fer_edge.option import SWITCH, options_of
from fer_edge.pipeline.options import WatchOptions
from fer_edge.toml_text import key_lines

REPOSITORY = Path(__file__).resolve().parents[1]

# A valid text for each option, other than its default.
TEXTS = {
    "source": "party.mp4",
    "camera": "demo",
    "reconnect": "90s",
    "raw": "gray:64x48@5",
    "poll": "2.5",
    "rotate": "180",
    "max_pixels": "1500k",
    "every": "2",
    "fps": "0.5",
    "max_fps": "10",
    "budget": "25",
    "idle_fps": "0",
    "frames": "7",
    "seconds": "1.5",
    "jsonl": "log.jsonl",
    "save_video": "a.mp4",
    "segment": "90s",
    "save_image": "a.png",
    "store": "shop.db",
    "events": "trailers.csv",
    "gpio_button": "17",
    "name": "door",
    "state_folder": "state",
    "page": "[::1]:8080",
    "page_picture": "off",
    "page_fps": "5",
    "page_viewers": "3",
    "page_tls": "cert.pem,key.pem",
    "page_host": "shop.example",
    "page_token_file": "token",
    "metrics": "fer-edge.prom",
    "keep": "30",
    "keep_detail": "0.5",
    "keep_files": "20G",
    "keep_free": "250M",
    "require": "jsonl",
    "unsure": "off",
    "model": "nano",
    "backend": "onnx",
    "precision": "fp32",
    "threads": "2",
    "labels": "fer2013",
    "balance": "0.5",
    "detector_model": "yunet.onnx",
    "detector_engine": "opencv",
    "detector_precision": "int8",
    "detect_every": "3",
    "classify_every": "2",
    "detect_size": "full",
    "min_hits": "1",
    "smoothing": "0.25",
    "min_score": "0.9",
    "max_heat": "75",
    "stats": "60",
    "log_level": "debug",
    "password_file": "/dev/null",
    "mqtt": "mqtts://broker.lan:8884/home",
    "mqtt_name": "shop window",
    "mqtt_password_file": "/dev/null",
    "mqtt_ca": "ca.pem",
    "mqtt_cert": "shop.crt,shop.key",
    "mqtt_every": "30s",
    "mqtt_discovery": "ha",
    "mqtt_camera": "full",
    "region": "0.1,0,0.5,1",
    "mask": "0,0 0.3,0 0.3,1",
}
NEEDS = {name: {"jsonl": "log.jsonl"} for name in ("append", "force", "require", "keep_files")}
NEEDS |= {name: {"store": "shop.db"} for name in ("events", "gpio_button")}
NEEDS |= {name: {"mqtt": "mqtts://broker"} for name in TEXTS if name.startswith("mqtt_")}
NEEDS |= {name: {"page": ":8080"} for name in TEXTS if name.startswith("page_")}


def text_of(name):
    return "on" if OPTIONS[name].kind is SWITCH else TEXTS[name]


def parsed(*arguments):
    namespace = vars(command_parsers()["run"].parse_args(arguments))
    return {name: value for name, value in namespace.items() if name in OPTIONS}


def given(one, text):
    """An option on a command line."""
    return [text] if one.positional else [one.flag, *([] if one.switch else [text])]


def by_flag(name):
    one = OPTIONS[name]
    needed = [part for key, value in NEEDS.get(name, {}).items() for part in given(OPTIONS[key], value)]
    return load(parsed(*needed, *given(one, text_of(name))), {})


def write(tmp_path, text):
    path = tmp_path / "door.toml"
    path.write_text(text)
    return str(path)


def refused(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        load({}, {}, write(tmp_path, text))
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_every_field_of_a_run_is_an_option_or_known_to_be_none():
    plain = {"silence", "colour", "camera"}
    assert {field.name for field in dataclasses.fields(WatchOptions)} == set(options_of(WatchOptions)) | plain
    assert {field.name for field in dataclasses.fields(Config)} == set(options_of(Config)) | {
        "watch",
        "cameras",
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_means_the_same_as_a_flag_a_variable_and_a_key(name, tmp_path):
    flag = by_flag(name)
    assert flag.settings[name].value != OPTIONS[name].default
    assert flag.settings[name].origin == OPTIONS[name].flag

    needed = {OPTIONS[key].variable: value for key, value in NEEDS.get(name, {}).items()}
    variable = load({}, {**needed, OPTIONS[name].variable: text_of(name)})
    assert variable.config == flag.config
    assert variable.settings[name].origin == "FER_EDGE_" + name.upper()

    printed = tomllib.loads(to_toml(flag))
    assert printed[name] == OPTIONS[name].written(flag.settings[name].value)
    lines = [row for row in to_toml(flag).splitlines() if row.startswith((f"{name} =", *NEEDS.get(name, ())))]
    file = load({}, {}, write(tmp_path, "\n".join(lines)))
    assert file.config == flag.config
    assert file.settings[name].origin.startswith(f"{tmp_path}/door.toml, line ")


SAMPLES = sorted(Path(__file__).parent.glob("config-*.toml"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_file_of_every_version_is_read(sample):
    """With every option of its version set; a key that is renamed or goes needs a note of its new name."""
    given = tomllib.loads(sample.read_text())
    loaded = load({}, {}, str(sample))
    assert len(given) > 40
    for name, value in given.items():
        # One camera may stand without a list.
        assert OPTIONS[name].written(loaded.settings[name].value) in (value, [value])


def test_the_sample_of_this_version_has_every_option():
    """A new option belongs into it, so that a later version is tried with it."""
    version = ".".join(fer_edge.__version__.split(".")[:2])
    sample = Path(__file__).with_name(f"config-{version}.toml")
    given = tomllib.loads(sample.read_text())
    assert set(OPTIONS) - set(given) == {"source", "force", "fps", "password_file"}
    settings = load({}, {}, str(sample)).settings
    assert [name for name in given if settings[name].value == OPTIONS[name].default] == []


@pytest.mark.parametrize("sample", sorted(Path(__file__).parent.glob("cameras-*.toml")), ids=lambda p: p.stem)
def test_tables_of_cameras_of_every_version_are_read(sample):
    door, till = load({}, {}, str(sample)).config.cameras
    assert (door.name, till.name) == ("door", "till")
    stream, usb = door.config, till.config
    assert (stream.source, usb.source) == ("rtsp://viewer@192.168.1.20/stream", "0")
    assert (stream.watch.reconnect, stream.watch.region) == (0.0, (0.1, 0.0, 0.9, 1.0))
    assert stream.watch.mask == (((0.0, 0.0), (0.3, 0.0), (0.3, 1.0)),)
    assert (stream.watch.password_file, stream.save_video, stream.jsonl) == ("/dev/null", "door.mp4", None)
    assert (usb.watch.fps, usb.jsonl, usb.force, usb.append) == (5.0, "till.jsonl", True, False)
    assert stream.watch.detect_size == usb.watch.detect_size == 160


def test_tables_of_cameras_may_be_a_list(tmp_path):
    text = 'camera = [{name = "door", source = 0},\n{name = "till", source = "a.mp4"}]'
    door, till = load({}, {}, write(tmp_path, text)).config.cameras
    assert (door.name, door.config.source, till.config.source) == ("door", "0", "a.mp4")
    with pytest.raises(ConfigError, match=r"door\.toml, line 1: there are two cameras with the name 'door'"):
        load({}, {}, write(tmp_path, text.replace("till", "door")))


def test_a_key_of_a_later_version_ends_the_run_and_is_named(cli, tmp_path):
    path = write(tmp_path, "camera = 'demo'\nframes = 1\nhologram = true\n")
    code, out, err = cli("run", "--config", path)
    assert (code, out) == (78, "")
    assert "door.toml, line 3: unknown key 'hologram'" in err


def test_flags_come_before_variables_before_the_file_before_defaults(tmp_path):
    file = write(tmp_path, "min_score = 0.1\nmin_hits = 1\nthreads = 1\n# \nsmoothing = 1\n")
    environment = {"FER_EDGE_MIN_SCORE": "0.2", "FER_EDGE_MIN_HITS": "2"}
    loaded = load(parsed("--min-score", "0.3"), environment, file)
    found = {name: (one.value, one.origin) for name, one in loaded.settings.items()}
    assert found["min_score"] == (0.3, "--min-score")
    assert found["min_hits"] == (2, "FER_EDGE_MIN_HITS")
    assert found["smoothing"] == (1.0, f"{file}, line 5")
    assert found["threads"] == (1, f"{file}, line 3")
    assert found["poll"] == (1.0, "default")
    assert loaded.config.watch == WatchOptions(min_score=0.3, min_hits=2, smoothing=1.0)


def test_a_source_displaces_a_camera_named_further_down(tmp_path):
    file = write(tmp_path, 'source = "party.mp4"')
    assert load(parsed("--camera", "demo"), {}, file).config == Config(camera=("demo",))
    assert load({}, {"FER_EDGE_CAMERA": "1"}, file).config == Config(camera=("1",))
    assert load(parsed("a.mp4"), {"FER_EDGE_CAMERA": "1"}, file).config == Config(source="a.mp4")
    with pytest.raises(ValueError, match="not both") as caught:
        load(parsed("a.mp4", "--camera", "1"), {}, file)
    assert not isinstance(caught.value, ConfigError)


def test_flags_take_back_what_the_file_says(tmp_path):
    file = write(tmp_path, 'mirror = true\njsonl = "a"\nappend = true\nrequire = ["jsonl"]\nframes = 3\n')
    flags = parsed("--no-mirror", "--no-jsonl", "--no-append", "--no-require", "--no-frames")
    loaded = load(flags, {}, file)
    assert loaded.config == Config()
    assert loaded.settings["mirror"].origin == "--no-mirror"


def test_switches_of_the_environment_are_told_in_many_ways():
    for text in ("1", "on", "yes", "true", "TRUE"):
        assert load({}, {"FER_EDGE_MIRROR": text}).config.watch.mirror
    for text in ("0", "off", "no", "false", ""):
        assert not load({}, {"FER_EDGE_MIRROR": text}).config.watch.mirror


def test_lists_of_the_environment_have_commas():
    environment = {"FER_EDGE_REQUIRE": "jsonl, image", "FER_EDGE_JSONL": "a", "FER_EDGE_SAVE_IMAGE": "b"}
    assert load({}, environment).config.require == ("jsonl", "image")


def test_a_camera_may_be_a_number_in_the_file(tmp_path):
    assert load({}, {}, write(tmp_path, "camera = 0")).config.camera == ("0",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\nmin_scor = 1", "door.toml, line 3: unknown key 'min_scor'; did you mean min_score?"),
        ("Min-Score = 1", "door.toml, line 1: unknown key 'Min-Score'; did you mean min_score?"),
        ("x.y = 1", "door.toml, line 1: unknown table 'x'; fer-edge run --print-config lists all"),
        (
            "# faces\n[faces]\nmin_score = 1",
            "door.toml, line 2: unknown table 'faces'; keys stand in no table; leave its heading out",
        ),
        ("min_score = '1'", "door.toml, line 1: min_score: must be a number, not a text"),
        ("frames = 1.0", "door.toml, line 1: frames: must be a whole number, not a number"),
        ("frames = true", "door.toml, line 1: frames: must be a whole number, not true"),
        ("mirror = 1", "door.toml, line 1: mirror: must be true or false, not a whole number"),
        ("unsure = 'off'", "door.toml, line 1: unsure: must be true or false, not a text"),
        ("segment = 30", "door.toml, line 1: segment: must be a text, not a whole number"),
        ("model = {}", "door.toml, line 1: model: must be a text, not a table"),
        ("model = 2026-01-01", "door.toml, line 1: model: must be a text, not a date or time"),
        ("max_pixels = 1e8", "door.toml, line 1: max_pixels: must be a whole number or a text, not a number"),
        ("[[camera]]", 'door.toml, line 1: a camera needs a name, as in name = "door"'),
        ("source = 0", "door.toml, line 1: source: must be a text; the number of a camera is camera = 0"),
        ("model = edge", "door.toml, line 1, column 9: no valid TOML: Invalid value; texts stand in quotes"),
        ("[camera]", "door.toml, line 1: the table of a camera is [[camera]], with two brackets"),
        (
            "[camera]\n[camera]",
            "door.toml, line 2, column 8: no valid TOML: Cannot declare ('camera',) twice; "
            "the table of a camera is [[camera]], with two brackets",
        ),
        (
            "region = '0,0,1,1'",
            "door.toml, line 1: region: must be four numbers, as in [0.1, 0, 0.9, 1], not a text",
        ),
        (
            "mask = [[0, 0], [1, 0], [1, 1]]",
            "door.toml, line 1: mask: [[0, 0], [1, 0], [1, 1]] is not polygons, "
            "as in [[[0, 0], [0.3, 0], [0.3, 1]]]",
        ),
        (
            "mask = [0, 0]",
            "door.toml, line 1: mask: must be polygons, as in [[[0, 0], [0.3, 0], [0.3, 1]]], "
            "not one with a whole number",
        ),
        ("camera = [1.5]", "door.toml, line 1: camera: must be a list of texts, not one with a number"),
        (
            "require = 'jsonl'",
            'door.toml, line 1: require: must be a list of texts, as in ["jsonl"], not a text',
        ),
        (
            "require = [1]",
            "door.toml, line 1: require: must be a list of texts, not one with a whole number",
        ),
        (
            "require = ['jsnol']",
            "door.toml, line 1: require: there is no 'jsnol'; did you mean jsonl?",
        ),
        ("rotate = 45", "door.toml, line 1: rotate: there is no '45'; choose from 0, 90, 180, 270"),
        ("min_score = 1.5", "door.toml, line 1: min_score must be from 0 to 1, got 1.5"),
        (
            "detect_size = 8",
            "door.toml, line 1: detect_size: the detector's size must be 32 pixels or more, got 8",
        ),
        ("segment = '3'", "door.toml, line 1: segment: '3' is not a duration such as 30s, 10m or 1h"),
        ("jsonl = ''", "door.toml, line 1: jsonl: must not be empty"),
        ("a = 1\na = 2", "door.toml, line 2, column 6: no valid TOML: Cannot overwrite a value"),
        ("a = [", "door.toml, at its end: no valid TOML: Invalid value"),
        ("\nappend = true", "--append is for a --jsonl file (append: {}/door.toml, line 2)"),
        (
            "camera = 0\nsource = 'a'",
            "give either a source (a) or --camera 0, not both (source: {0}/door.toml, line 2, camera: "
            "{0}/door.toml, line 1)",
        ),
    ],
)
def test_a_bad_file_is_told_with_line_key_and_remedy(tmp_path, text, message):
    assert refused(tmp_path, text) == message.format(tmp_path)


@pytest.mark.parametrize(
    ("name", "unit", "wanted"),
    [
        ("keep_free", "G", "is not a size such as 500M or 20G"),
        ("keep_files", "G", "is neither a size such as 20G nor an age such as 30d"),
        ("keep_files", "d", "is neither a size such as 20G nor an age such as 30d"),
        ("max_pixels", "", "is not a number of pixels like 100M"),
        ("segment", "h", "is not a duration such as 30s, 10m or 1h"),
        ("reconnect", "", "is neither on nor off nor a time such as 90s or 10m"),
    ],
)
def test_a_value_beyond_all_numbers_is_refused(name, unit, wanted):
    text = 400 * "9" + unit
    with pytest.raises(ConfigError) as caught:
        load({}, {f"FER_EDGE_{name.upper()}": text})
    assert str(caught.value) == f"FER_EDGE_{name.upper()}: '{text}' {wanted}"


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("MIN_SCORE", "high", "FER_EDGE_MIN_SCORE: 'high' is not a number"),
        ("MIN_SCORE", "2", "FER_EDGE_MIN_SCORE: min_score must be from 0 to 1, got 2.0"),
        ("MIRROR", "maybe", "FER_EDGE_MIRROR: 'maybe' is neither on nor off"),
        ("JSNOL", "a", "FER_EDGE_JSNOL: there is no such variable; did you mean FER_EDGE_JSONL?"),
        ("BACKEND", "tflite", "FER_EDGE_BACKEND: there is no 'tflite'; did you mean litert?"),
    ],
)
def test_a_bad_variable_is_told_with_its_remedy(variable, text, message):
    with pytest.raises(ConfigError) as caught:
        load({}, {f"FER_EDGE_{variable}": text})
    assert str(caught.value) == message


def test_variables_that_are_no_options_are_left_alone(caplog):
    environment = {"FER_EDGE_PURE": "1", "FER_EDGE_DEBUG": "1", "FER_EDGE_CONFIG": "x", "HOME": "y"}
    assert load({}, environment).config == Config()
    assert caplog.messages == []
    load({}, {"FER_EDGE_HOME": "/srv"})
    assert caplog.messages == ["FER_EDGE_HOME: fer-edge has no such option; ignored"]


def test_a_file_that_is_missing_or_not_text_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load({}, {}, str(tmp_path / "none.toml"))
    (tmp_path / "latin.toml").write_bytes(b'jsonl = "caf\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml, byte 12: not UTF-8"):
        load({}, {}, str(tmp_path / "latin.toml"))


def test_contradicting_flags_are_no_fault_of_an_innocent_file(tmp_path):
    with pytest.raises(ValueError, match="--append is for") as caught:
        load(parsed("--append"), {}, write(tmp_path, "min_score = 0.5"))
    assert not isinstance(caught.value, ConfigError)


DOCUMENT = '''\
# a comment with a = 1
top = 1

dotted.inner."quoted key".last = 2
many = [
    "first",  # min_score = 1
    """
over = "lines"
""",
]
text = """
[not.a.heading]
key = 'no key'
\\"""
"""
'literal' = \'\'\'
[[nor.this]]
\'\'\'
flat = { a = 1, b.c = 2 }
row = [{ a = 1 },
  { b = [{ c = 2 }] }]
[table]
key = 1
  [table.sub]   # [comment]
  key = [[1, 2],
    [3]]

["table"."other one"]
key = "= [x]"

[[camera]]
name = "a"
[camera.region]
left = 0
[[camera.mask]]
points = [
  1]
[[camera.mask]]
points = []

[[camera]]
name = "b"
  [[camera.mask]]
  points = 1
[after]
end = 1979-05-27T07:32:00Z
'''

LINES = {
    ("top",): 2,
    ("dotted",): 4,
    ("dotted", "inner", "quoted key", "last"): 4,
    ("many",): 5,
    ("text",): 11,
    ("literal",): 16,
    ("flat", "b", "c"): 19,
    ("row", 0, "a"): 20,
    ("row", 1, "b", 0, "c"): 20,
    ("table",): 22,
    ("table", "key"): 23,
    ("table", "sub", "key"): 25,
    ("table", "other one", "key"): 29,
    ("camera", 0): 31,
    ("camera", 0, "name"): 32,
    ("camera", 0, "region", "left"): 34,
    ("camera", 0, "mask", 0, "points"): 36,
    ("camera", 0, "mask", 1, "points"): 39,
    ("camera", 1, "name"): 42,
    ("camera", 1, "mask", 0, "points"): 44,
    ("after", "end"): 46,
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_of_keys_are_found_in_all_that_toml_allows(ending):
    tomllib.loads(DOCUMENT.replace("\n", ending))
    found = key_lines(DOCUMENT.replace("\n", ending))
    assert {path: found.get(path) for path in LINES} == LINES
    leaves = {path[-1] for path in found if isinstance(path[-1], str)}
    assert leaves.isdisjoint({"over", "not", "heading", "nor", "this", "min_score", "a comment with a"})


def test_every_key_of_a_document_has_a_line():
    def paths(value, path=()):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield (*path, key)
            if isinstance(inner, dict) or (isinstance(inner, list) and inner and isinstance(inner[0], dict)):
                yield from paths(inner, (*path, key))

    assert set(paths(tomllib.loads(DOCUMENT))) == set(key_lines(DOCUMENT))


def test_other_line_separators_within_texts_are_no_lines(tmp_path):
    path = write(tmp_path, 'jsonl = "a\u2028b\x85c"\nmin_scor = 1\n')
    with pytest.raises(ConfigError, match="line 2"):
        load({}, {}, path)


def test_print_config_can_be_read_back_and_hides_secrets(cli, tmp_path):
    file = write(tmp_path, 'source = "rtsp://me:s3cret@host/live?token=t0ken"\nmin_score = 0.8\n')
    name = 'quote " tab\t back\\ é \x7f'
    options = ["--save-image", name, "--detect-size", "full", "--segment", "1500m", "--max-pixels", "123"]
    code, out, err = cli("run", "--config", file, "--print-config", *options)
    assert (code, err) == (0, "")
    assert "s3cret" not in out and "t0ken" not in out and "me" not in out.split("host")[0].split("//")[1]
    assert f'source = "rtsp://host/live?token=***"  # {file}, line 1; secrets left out' in out
    assert f"min_score = 0.8  # {file}, line 2" in out
    assert 'segment = "25h"  # --segment' in out
    assert "max_pixels = 123  # --max-pixels" in out
    assert "smoothing = 0.4  # default" in out
    assert "# balance: none (default)" in out

    again = tmp_path / "again.toml"
    again.write_text(out)
    loaded = load({}, {}, str(again)).config
    assert loaded.save_image == name
    assert loaded == load(parsed(*options), {}, str(again)).config
    assert dataclasses.replace(loaded, source=None) == dataclasses.replace(
        load(parsed(*options), {}, file).config, source=None
    )


def test_a_name_that_is_not_unicode_is_refused_by_print_config(cli):
    code, out, err = cli("run", "--save-image", "caf\udce9.png", "--print-config")
    assert (code, out) == (2, "")
    assert "is not Unicode" in err


def test_a_run_obeys_its_file_and_its_environment(cli, tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_EDGE_FRAMES", "2")
    monkeypatch.setenv(
        "FER_EDGE_CONFIG", write(tmp_path, 'camera = "demo"\njsonl = "log.jsonl"\nframes = 9\n')
    )
    code, out, err = cli("run")
    assert code == 0, err
    assert "2 frames" in out
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("file", "flags", "code"),
    [
        ("min_scor = 1", (), 78),
        ("append = true", (), 78),
        ("min_score = 2", (), 78),
        ("min_score = 1", ("--min-score", "x"), 2),
        ("min_score = 1", ("--min-score", "2"), 2),
        ("min_score = 1", ("--append",), 2),
        (None, (), 78),
    ],
)
def test_the_exit_code_tells_bad_configuration_from_bad_flags(cli, tmp_path, file, flags, code):
    path = str(tmp_path / "none.toml") if file is None else write(tmp_path, file)
    found, _, err = cli("run", "--config", path, *flags)
    assert found == code, err
    assert "Traceback" not in err


def test_the_command_line_is_made_without_numpy():
    code = (
        "import sys; from fer_edge.cli import _parser; _parser('run'); _parser('predict');"
        "print(sorted({'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_table_in_the_documentation_is_that_of_the_options():
    """After a change of options: make man."""
    module = repository_module("tools/options.py")
    assert module.PAGE.read_text() == module.page()
    rows = [row.split("|")[1].strip(" `") for row in module.table().splitlines()]
    assert [row for row in rows if row in OPTIONS] == list(OPTIONS)


def test_what_shows_a_store_keeps_one_in_the_folder_of_state(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert with_store(Config(), shown=True).store == "/x/fer-edge/store.db"
    assert with_store(Config(state_folder="/state"), shown=True).store == "/state/store.db"
    assert with_store(Config(store="shop.db"), shown=True).store == "shop.db"
    assert with_store(Config(), shown=False).store is None
