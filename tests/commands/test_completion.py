"""The scripts of ``fer-edge completion``, in the shells where they are installed, and the manual page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import repository_module

from fer_edge.commands import COMMANDS, command_parsers
from fer_edge.commands.completion import options

REPOSITORY = Path(__file__).resolve().parents[2]

needs = {
    shell: pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")
    for shell in ("bash", "zsh", "fish")
}


@pytest.fixture
def script(cli, tmp_path):
    def script(shell):
        code, out, err = cli("completion", shell)
        assert code == 0, err
        path = tmp_path / f"completion.{shell}"
        path.write_text(out)
        return path

    return script


def shell_answers(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my photo.jpg").touch()
    (tmp_path / "here" / "myself.png").touch()
    return tmp_path / "here"


CASES = [
    (("pre",), ["predict"]),
    (("run", "--detect-s"), ["--detect-size"]),
    (("run", "--backend", ""), ["auto", "litert", "onnx"]),
    (("run", "--backend", "l"), ["litert"]),
    (("run", "--frames", ""), []),
    (("predict", "--unsure", ""), ["off", "on"]),
    (("predict", "my"), ["my photo.jpg", "myself.png"]),
    (("predict", "--detector-model", "mys"), ["myself.png"]),
    (("predict", "--jsonl", "mys"), ["myself.png"]),
    (("completion", ""), ["bash", "fish", "zsh"]),
    (("doctor", ""), []),
    (("run", "--reconnect", ""), ["off", "on"]),
    (("archive", "--ray", ""), ["auto"]),
    (("fleet", "--store", "mys"), ["myself.png"]),
    (("fleet", "--store", "U"), []),
    (("run", "--model", "ed"), ["edge"]),
    (("run", "--model", "mys"), ["myself.png"]),
    (("bench", "--model", "n"), ["nano"]),
    (("session", ""), ["mark", "start", "status", "stop"]),
    (("session", "start", ""), []),
    (("session", "--name", "x", ""), ["mark", "start", "status", "stop"]),
    (("session", "--name", "x", "start", ""), []),
    (("completion", "bash", ""), []),
]


@needs["bash"]
@pytest.mark.parametrize(("words", "expected"), [*CASES, (("run", "--backend", "=", "o"), ["onnx"])])
def test_bash_completes(script, folder, words, expected):
    code = (
        'source "$1"; shift; compopt() { :; }\n'
        'COMP_WORDS=(fer-edge "$@"); COMP_CWORD=$#; _fer_edge; ((${#COMPREPLY[@]})) || exit 0\n'
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    out = shell_answers("bash", "-c", code, "bash", str(script("bash")), *words, cwd=folder)
    assert sorted(out.splitlines()) == expected


@needs["fish"]
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_fish_completes(script, folder, words, expected):
    line = " ".join(["fer-edge", *words])
    out = shell_answers(
        "fish", "--no-config", "-c", f"source {script('fish')}; complete -C '{line}'", cwd=folder
    )
    found = sorted(row.partition("\t")[0].replace("\\ ", " ") for row in out.splitlines())
    assert found == expected


@needs["zsh"]
def test_zsh_reads_its_script(script, folder):
    shell_answers("zsh", "-f", "-n", str(script("zsh")), cwd=folder)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_the_script(script, shell):
    text = script(shell).read_text()
    parsers = command_parsers()
    assert list(parsers) == list(COMMANDS)
    for name, parser in parsers.items():
        assert name in text
        found = [option.name for option in options(parser) if option.name]
        assert "--help" in found
        for option in found:
            assert (option if shell != "fish" else f" {option.lstrip('-')} ") in text
    assert "--aligned" not in text


def test_an_unknown_shell_is_refused_with_the_choices(cli):
    code, _, err = cli("completion", "tcsh")
    assert code == 2
    assert all(shell in err for shell in ("bash", "zsh", "fish"))


@pytest.fixture
def manual():
    return repository_module("tools/man.py")


def test_the_manual_page_is_that_of_the_parsers(manual):
    """After a change of options: make man."""
    assert manual.PAGE.read_text() == manual.page()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_sound_troff(manual):
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(manual.PAGE)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "--detect-size N" in done.stdout.replace("\u2010", "-").replace("\u2212", "-")
