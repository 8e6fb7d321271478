"""What frps and frpc have in common: the global flags, `verify`, `health`, the words printed before a start."""

from __future__ import annotations

from frp_py.cli.command import Command
from frp_py.cli.flags import BOOL, LIST, STRING, Flag, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from frp_py.config.client import ClientConfig
    from frp_py.config.server import ServerConfig

    Config = ServerConfig | ClientConfig
    AnyConfig = TypeVar("AnyConfig", ServerConfig, ClientConfig)


def global_flags(config: str) -> tuple[Flag, ...]:
    """The flags that every command takes; `config` is the default file."""
    return (
        Flag("config", STRING, config, "the configuration file", short="c"),
        Flag("version", BOOL, False, "print the version and exit", short="v"),
        Flag("strict_config", BOOL, True, "refuse unknown keys in the configuration file"),
        Flag("allow-unsafe", LIST, [], "unsafe features to allow; there is one: TokenSourceExec"),
    )


def print_version() -> int:
    """Print the bare version of frp that we are compatible with, which scripts compare."""
    from frp_py.version import FRP_VERSION

    print(FRP_VERSION)
    return 0


def warn(config: Config) -> None:
    """Print the warnings about `config` as one block."""
    from frp_py.config import warnings_of

    if lines := "\n".join(warnings_of(config)):
        print(f"WARNING: {lines}", flush=True)


def refuse_unsupported(config: Config) -> bool:
    """Print each key of `config` that asks for what this release can't do; True when there are any."""
    from frp_py.config import not_yet_supported

    refused = not_yet_supported(config)
    for line in refused:
        print(line, flush=True)
    return bool(refused)


def load_to_start(load: Callable[[list[str]], AnyConfig]) -> AnyConfig | None:
    """The configuration to start with; None when there is none. Prints what there is to say about it.

    `load` appends to its argument the lines that have to be printed whether or not it fails.
    """
    from frp_py.errors import ConfigError

    notices: list[str] = []
    config: AnyConfig | None = None
    failure = ""
    try:
        config = load(notices)
    except ConfigError as error:
        failure = str(error)
    for line in notices:
        print(line, flush=True)
    if config is None:
        print(failure, flush=True)
        return None
    warn(config)
    return None if refuse_unsupported(config) else config


def verify_command(program: str, load: Callable[[Values], Config]) -> Command:
    """`PROGRAM verify -c FILE` (config.md 4.7)."""

    def verify(values: Values) -> int:
        from frp_py.errors import ConfigError

        if not values["config"]:
            print(f"{program}: the configuration file is not specified")
            return 0
        try:
            config = load(values)
        except ConfigError as error:
            print(error)
            return 1
        warn(config)
        print(f"{program}: the configuration file {values['config']} syntax is ok")
        return 0

    return Command("verify", "Verify that the configuration file is valid", verify, example=f"{program} verify -c ./{program}.toml")


def health_command(program: str, check: Callable[[Values], str]) -> Command:
    """`PROGRAM health -c FILE`: whether the program of that file works, for container health checks."""

    def health(values: Values) -> int:
        from frp_py.errors import FrpError

        try:
            print(check(values))
        except (FrpError, OSError) as error:
            print(f"{program} is not healthy: {error}")
            return 1
        return 0

    summary = "Check that the program with this configuration file works on this machine"
    return Command("health", summary, health, example=f"{program} health -c ./{program}.toml")


def completion_command(program: str, root: Callable[[], Command]) -> Command:
    """`PROGRAM completion SHELL`: a script that lets the shell complete the commands and flags below `root()`."""
    examples = {
        "bash": f"{program} completion bash > /etc/bash_completion.d/{program}",
        "zsh": f'{program} completion zsh > "${{fpath[1]}}/_{program}"',
        "fish": f"{program} completion fish > ~/.config/fish/completions/{program}.fish",
    }

    def command(shell: str) -> Command:
        def write(_: Values) -> int:
            from frp_py.cli import completion

            print(completion.SHELLS[shell](root()), end="")
            return 0

        return Command(shell, f"Write the script for {shell}", write, example=examples[shell])

    return Command("completion", "Let your shell complete commands and flags", children=[command(shell) for shell in examples])
