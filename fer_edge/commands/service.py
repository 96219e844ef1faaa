"""``fer-edge service``: a systemd unit for ``fer-edge run``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from ..option import nonempty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Config
    from ..service.install import Manager
    from ..service.unit import UnitOptions

HELP = "Print a systemd unit that runs `fer-edge run`; install, start or remove it."
EPILOG = """examples:
  fer-edge service -- --camera 0 --store faces.db        # prints the unit
  sudo /opt/fer-edge/bin/fer-edge service --install -- --camera 0 --jsonl faces.jsonl --append --keep-files 5G
  fer-edge service --user --install -- --camera 0 --store faces.db
  systemctl status fer-edge; journalctl -u fer-edge -f
  sudo /opt/fer-edge/bin/fer-edge service --remove

What follows -- are options of `fer-edge run`; without them the service reads /etc/fer-edge.toml. Files whose
names have no folder lie in /var/lib/fer-edge, with --user where systemd keeps state (~/.config/fer-edge, or
~/.local/state/fer-edge since systemd 254); configuration, passwords and keys are named with their whole
paths. The service waits for a camera that is not there yet, and is started again when it fails or hangs.
Exit code: 0 done, 1 systemd refused, 2 bad input, 78 a bad configuration file."""

CONFIG = Path("/etc/fer-edge.toml")
"""What a service without options reads."""

_log = logging.getLogger(__name__)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--install", action="store_true", help="install, enable and start the service, or replace it"
    )
    action.add_argument(
        "--remove", action="store_true", help="stop and remove the service; what it wrote stays"
    )
    parser.add_argument(
        "--user", action="store_true", help="make it a service of your own, which needs no root"
    )
    parser.add_argument(
        "--name",
        default="fer-edge",
        help="call the service and its folder in /var/lib so (default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        type=nonempty,
        metavar="FILE",
        help="let the service read its options from this file (default without OPTION: /etc/fer-edge.toml)",
    )
    parser.add_argument(
        "--write",
        action="append",
        type=nonempty,
        default=[],
        metavar="DIR",
        help="let the service write in this folder, too; may be given more than once",
    )
    parser.add_argument(
        "--root",
        type=nonempty,
        metavar="DIR",
        help="install into the system that lies in this folder, as of an image, without starting it",
    )
    parser.add_argument(
        "options", nargs="*", metavar="OPTION", help="after --: options of fer-edge run, and its source"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print, install or remove."""
    from ..service.install import install, remove, systemd_version
    from ..service.unit import unit_text

    if arguments.user and arguments.root:
        raise DataError("--root is for a service of the system; leave --user out")
    if arguments.remove:
        if arguments.options or arguments.write:
            raise DataError("--remove takes no options of run, and no --write")
        remove(_manager(arguments), arguments.name)
        print(f"removed the service {arguments.name}")
        return 0
    options = _unit_options(arguments, systemd_version())
    text = unit_text(options)
    if not arguments.install:
        print(text, end="")
        return 0
    manager = _manager(arguments)
    install(manager, arguments.name, text)
    print(f"installed {manager.path(arguments.name)}")
    if manager.runs:
        of_user = " --user" if arguments.user else ""
        print(f"what it does: systemctl{of_user} status {arguments.name}")
        print(f"what it says: journalctl{of_user} -u {arguments.name}")
    if arguments.user:
        print("to start it without a login: loginctl enable-linger")
    return 0


def _manager(arguments: argparse.Namespace) -> Manager:
    from ..service.install import system_manager, user_manager

    if arguments.user:
        return user_manager()
    if arguments.root:
        return system_manager(Path(arguments.root))
    if os.geteuid() != 0:
        raise DataError("a service of the system needs root: sudo, or --user for a service of your own")
    return system_manager()


def _unit_options(arguments: argparse.Namespace, version: int) -> UnitOptions:
    from ..service.unit import UnitOptions
    from ..sources.urls import path_of

    options, configs, file = _checked(arguments)
    named: list[str | os.PathLike[str] | None] = [file]
    named += [path_of(name) for one in configs for name in (one.source, *one.camera) if name]
    named += [name for one in configs for name in (one.watch.model, one.watch.detector_model, one.events)]
    named += [one.mqtt_ca for one in configs]
    named += [pair[0] for one in configs for pair in (one.page_tls, one.mqtt_cert) if pair]
    secrets = {path for one in configs for path in _secrets(one).values()}
    return UnitOptions(
        # -P: the state folder, in which the service may write, is no place for modules.
        command=[sys.executable, "-P", "-m", "fer_edge", "run", *options],
        name=arguments.name,
        systemd=version,
        user=arguments.user,
        reads=[*_program_folders(), *(Path(name) for name in named if name and Path(name).is_absolute())],
        secrets=sorted(secrets),
        writes=[Path(folder).resolve() for folder in arguments.write],
        gpio=any(one.gpio_button for one in configs),
        reloads=file is not None,
    )


def _secrets(config: Config) -> dict[str, Path]:
    """Files that only root may have to read, by what names them."""
    files: dict[str, str | os.PathLike[str] | None] = {
        "--password-file": config.watch.password_file,
        "--page-token-file": config.page_token_file,
        "--mqtt-password-file": config.mqtt_password_file,
        "--page-tls": config.page_tls and config.page_tls[1],
        "--mqtt-cert": config.mqtt_cert and config.mqtt_cert[1],
    }
    return {flag: Path(file) for flag, file in files.items() if file}


def _checked(arguments: argparse.Namespace) -> tuple[list[str], list[Config], str | None]:
    """Read options and configuration as ``run`` will.

    Returns the options; what they amount to, for all and then for each of several cameras; and the
    configuration file. Raises what ``run`` would raise, and DataError for what would fail in a service.
    """
    from ..config import load
    from . import set_up
    from .run import given

    options = [*arguments.options]
    if arguments.config or not options:
        file = Path(arguments.config or CONFIG).absolute()
        if not (arguments.config or file.exists()):
            raise DataError(f"there is no {file}: write it, or give options of fer-edge run after --")
        options = ["--config", str(file), *options]
    parser = argparse.ArgumentParser("fer-edge run", formatter_class=argparse.RawDescriptionHelpFormatter)
    set_up(parser, "run")
    parsed = parser.parse_args(options)
    if parsed.print_config:
        raise DataError("--print-config prints the options and ends; leave it out, for a service has to run")
    if parsed.config:
        _refuse_relative("--config", Path(parsed.config))
    # The service has an environment of its own.
    config = load(given(parsed), {}, parsed.config).config
    configs = [config, *(camera.config for camera in config.cameras)]
    for one in configs:
        _refuse_what_fails_later(one)
    _warn_of_growth(configs)
    if not config.watch.wait_for_camera:
        options = ["--wait-for-camera", *options]
    return options, configs, parsed.config


def _refuse_relative(flag: str, file: Path) -> None:
    """Raise DataError for a file that is read here, but that the service would look for in its own folder."""
    if not file.is_absolute():
        raise DataError(
            f"{flag} {file}: the service works in a folder of its own and would not find it; give its whole "
            f"path, such as {file.absolute()}"
        )


def _refuse_what_fails_later(config: Config) -> None:
    for flag, file in _secrets(config).items():
        _refuse_relative(flag, file)
    if config.jsonl and config.jsonl != "-" and not (config.append or config.force):
        raise DataError(f"--jsonl {config.jsonl}: the second start would find the file and end; add --append")
    if config.save_image and not config.force:
        raise DataError(
            f"--save-image {config.save_image}: the second start would find the file and end; add --force"
        )


def _warn_of_growth(configs: Sequence[Config]) -> None:
    """Warn of files that fill a card, as nobody deletes them; the first of ``configs`` is of all cameras."""
    growing = {"--jsonl": [one.jsonl for one in configs], "--save-video": [one.save_video for one in configs]}
    found = [flag for flag, names in growing.items() if any(name and name != "-" for name in names)]
    if found and not configs[0].keep_files:
        _log.warning(
            "%s: nothing deletes what is written, so that the card fills; --keep-files 5G keeps the newest",
            " and ".join(found),
        )


def _program_folders() -> list[Path]:
    """Where this program and what it imports lie."""
    package = Path(__file__).parents[1]
    folders = [Path(name) for name in (sys.prefix, sys.base_prefix, *sys.path) if name]
    return [folder.absolute() for folder in (*folders, package) if folder.exists()]
