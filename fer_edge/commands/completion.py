"""``fer-edge completion``: scripts for shells, made of the parsers of all commands."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import COMMANDS, command_parsers

HELP = "Print a script that lets a shell complete commands, options and their values."
EPILOG = """examples:
  eval "$(fer-edge completion bash)"              # in ~/.bashrc
  source <(fer-edge completion zsh)               # in ~/.zshrc, after compinit
  fer-edge completion fish > ~/.config/fish/completions/fer-edge.fish"""

_FILES = frozenset({"FILE", "PATH", "CSV", "DIR", "PNG", "DATA", "CHECKPOINT", "INPUT", "SOURCE", "--model"})
"""Values that can be names of files, by what the help calls them."""


@dataclass(frozen=True)
class Option:
    """An option of a command, or (``name`` empty) what it is given besides options.

    ``value``: what the help calls its value, None where it takes none; ``choices``: words that it can be;
    ``file``: whether it can be the name of a file; ``optional``: whether it may stand alone.
    """

    name: str
    help: str
    value: str | None
    choices: tuple[str, ...]
    file: bool
    optional: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=tuple(_SCRIPTS), help="the shell that is to read the script")


def execute(arguments: argparse.Namespace) -> int:
    """Print the script."""
    print(
        _SCRIPTS[arguments.shell]({name: list(options(parser)) for name, parser in command_parsers().items()})
    )
    return 0


def options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    """What ``parser`` takes, in the order of its help, without what the help leaves out."""
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        text = formatter._expand_help(action) if action.help else ""
        value: str | None = None
        if action.nargs != 0:
            value = action.metavar if isinstance(action.metavar, str) else None
            value = value or (action.option_strings or [action.dest])[-1]
        choices = tuple(map(str, action.choices or ())) or _words(value)
        file = not action.choices and value is not None and not _FILES.isdisjoint(value.split("|"))
        for name in action.option_strings or [""]:
            yield Option(name, text, value, choices, file, action.nargs == "?")


def _words(value: str | None) -> tuple[str, ...]:
    """Words that a value can be, by what the help calls it: those in capitals only stand for others."""
    if value == "--model":
        from ..models.manifest import bundled_models

        return tuple(bundled_models())
    return tuple(word for word in value.split("|") if not word.isupper()) if value and "|" in value else ()


_Commands = dict[str, list[Option]]


def _bash(commands: _Commands) -> str:
    values, names, rest = [], [], []
    for command, known in commands.items():
        names.append(
            f"        {command}) names='{' '.join(option.name for option in known if option.name)}' ;;"
        )
        for option in known:
            words = f"_fer_edge_words '{' '.join(option.choices)}'" if option.choices else ""
            reply = "; ".join(filter(None, (words, "_fer_edge_files" if option.file else ""))) or ":"
            if not option.name:
                given = f" {' '.join(option.choices)} "
                first = f"_fer_edge_given '{given}' || " if option.choices else ""
                rest.append(f"        {command}) {first}{reply} ;;")
            elif option.value and not option.optional:
                values.append(f"        '{command} {option.name}') {reply}; return ;;")
    return "\n".join(
        [
            "# bash completion of fer-edge; made by: fer-edge completion bash",
            '_fer_edge_words() { COMPREPLY+=($(compgen -W "$1" -- "$word")); }',
            "_fer_edge_given() {",
            "    local one",
            '    for one in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do [[ $1 == *" $one "* ]] && return; done',
            "    return 1",
            "}",
            "_fer_edge_files() {",
            '    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$word")',
            "    compopt -o filenames",
            "}",
            "_fer_edge() {",
            "    local command=${COMP_WORDS[1]} names=",
            "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
            "    COMPREPLY=()",
            "    # --option=value comes as three words.",
            "    if [[ $word == = ]]; then word=",
            "    elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi",
            "    if ((COMP_CWORD == 1)); then",
            f"        _fer_edge_words '{' '.join(commands)} --help --version'; return",
            "    fi",
            '    case "$command $before" in',
            *values,
            "    esac",
            "    case $command in",
            *names,
            "    esac",
            '    if [[ $word == -* ]]; then _fer_edge_words "$names"; return; fi',
            "    case $command in",
            *rest,
            "    esac",
            "}",
            "complete -F _fer_edge fer-edge",
        ]
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh(commands: _Commands) -> str:
    def described(text: str) -> str:
        return re.sub(r"([\[\]:\\])", r"\\\1", text)

    lines = [
        "#compdef fer-edge",
        "# zsh completion of fer-edge; made by: fer-edge completion zsh",
        "_fer_edge() {",
        "    if (( CURRENT == 2 )); then",
        "        local -a known=(",
        *(f"            {_quoted(f'{name}:{described(text)}')}" for name, text in COMMANDS.items()),
        "        )",
        "        _describe command known",
        "        return",
        "    fi",
        "    local command=$words[2]",
        "    shift words",
        "    (( CURRENT-- ))",
        "    case $command in",
    ]
    for command, known in commands.items():
        lines.append(f"        {command}) _arguments \\")
        for option in known:
            spec = "1" if option.choices else "*"
            if option.name:
                spec = f"*{option.name}[{described(option.help)}]"
            if option.value:
                words = f"({' '.join(option.choices)})" if option.choices else ""
                action = words or ("_files" if option.file else " ")
                if words and option.file:
                    action = f'{{_alternative "words\\:word\\:{words}" "files\\:file\\:_files"}}'
                spec += (
                    f"{'::' if option.optional and option.name else ':'}{described(option.value)}:{action}"
                )
            lines.append(f"            {_quoted(spec)} \\")
        lines.append("            ;;")
    return "\n".join([*lines, "    esac", "}", "compdef _fer_edge fer-edge"])


def _fish(commands: _Commands) -> str:
    lines = [
        "# fish completion of fer-edge; made by: fer-edge completion fish",
        "complete -c fer-edge -f",
        *(
            f"complete -c fer-edge -n __fish_use_subcommand -a {name} -d {_fish_quoted(text)}"
            for name, text in COMMANDS.items()
        ),
    ]
    for command, known in commands.items():
        seen = f"__fish_seen_subcommand_from {command}"
        start = f"complete -c fer-edge -n '{seen}'"
        for option in known:
            words = " ".join(option.choices)
            if not option.name:
                if words:
                    first = f"{seen}; and not __fish_seen_subcommand_from {words}"
                    lines.append(f"complete -c fer-edge -n '{first}' -a '{words}'")
                elif option.file:
                    lines.append(f"{start} -F")
                continue
            name = f"-l {option.name[2:]}" if option.name.startswith("--") else f"-s {option.name[1:]}"
            value = ""
            if option.file:
                value = " -F" if option.optional else " -r -F"
            elif words or (option.value and not option.optional):
                value = " -x"
            if words:
                value += f" -a '{words}'"
            lines.append(f"{start} {name}{value} -d {_fish_quoted(option.help)}")
    return "\n".join(lines)


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SCRIPTS: dict[str, Callable[[_Commands], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
