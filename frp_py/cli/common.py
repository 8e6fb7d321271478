"""What frps and frpc have in common: the global flags, commands that both have, the words printed before a start."""

from __future__ import annotations

from frp_py.cli.command import Command
from frp_py.cli.flags import BOOL, LIST, STRING, Flag, Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

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
    """Print each key of `config` that has no feature behind it yet, or is a secret without a value; True when there are any."""
    from frp_py.config.supported import not_yet_supported, unset_secrets

    refused = not_yet_supported(config) + unset_secrets(config)
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


def load_again(load: Callable[[], AnyConfig]) -> AnyConfig:
    """The configuration for a program that runs with another one. Raises ConfigError also where a start would refuse it."""
    from frp_py.config.supported import not_yet_supported, unset_secrets
    from frp_py.errors import ConfigError

    config = load()
    if refused := not_yet_supported(config) + unset_secrets(config):
        raise ConfigError("\n".join(refused))
    return config


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


def schema_command(program: str) -> Command:
    """`PROGRAM schema`: the JSON Schema of the configuration file."""

    def show(_: Values) -> int:
        import sys

        from frp_py.config.schema import shipped_schema

        with open(shipped_schema(program), encoding="utf-8") as file:
            sys.stdout.write(file.read())
        return 0

    return Command(
        "schema",
        "Print the JSON Schema of the configuration file, for editors",
        show,
        more="Editors that know it complete keys, show what they mean and mark mistakes. With Even Better TOML, for instance, the first\n"
        f"line of {program}.toml names it: #:schema ./{program}.schema.json",
        example=f"{program} schema > {program}.schema.json",
    )


def _given(flags: Iterable[Flag], values: Values) -> dict[str, Any]:
    return {flag.key: values[flag.name] for flag in flags if flag.key and flag.name in values.given}


def init_command(program: str, flags: Iterable[Flag], own: Iterable[Flag], example: str) -> Command:
    """`PROGRAM init [FILE]`: a file to start from. `flags` set keys in it, of which `own` are not inherited."""
    flags = tuple(flags)

    def init(values: Values) -> int:
        from frp_py.cli import starter
        from frp_py.errors import FrpError

        path = values.words[0] if values.words else values["config"] if "config" in values.given else f"{program}.toml"
        try:
            print(starter.init(program, path, _given(flags, values), force=values["force"]), end="")
        except FrpError as error:
            print(error)
            return 1
        return 0

    other = "frpc" if program == "frps" else "frps"
    return Command(
        "init",
        "Write a configuration file to start from",
        init,
        flags=(*own, Flag("force", BOOL, False, "replace a file that is there")),
        words="[file]",
        more=f"The file, {program}.toml unless named, has comments and a random token; flags set keys in it. Only its owner can read it.\n"
        f"What {other} needs on the other side is printed.",
        example=example,
    )


def service_command(program: str) -> Command:
    """`PROGRAM service install|uninstall|status`."""
    flags = (
        Flag("name", STRING, program, "name of the service, for several on one machine"),
        Flag("user", BOOL, False, "a service of yours instead of the machine's: it needs no root"),
        Flag("run_as", STRING, "", "user that it runs as, instead of one without any rights"),
        Flag("manager", STRING, "", "systemd, launchd or windows, instead of what runs here"),
        Flag("print", BOOL, False, "only print what would be written"),
    )

    def command(name: str, summary: str, more: str, extra: str = "") -> Command:
        def run(values: Values) -> int:
            from frp_py.cli import service
            from frp_py.errors import FrpError

            try:
                return service.command(name, program, values)
            except FrpError as error:
                print(error)
                return 1

        return Command(name, summary, run, flags=flags, more=more, example=f"sudo {program} service {name}{extra}")

    return Command(
        "service",
        "Run it by itself: install, uninstall, status",
        children=(
            command(
                "install",
                "Install a service that starts with the machine, and start it",
                f"The configuration is /etc/frp/{program}.toml (with --user ~/.config/frp/{program}.toml), or what -c names.\n"
                "The service has few rights and is started again whenever it ends. One that is installed already is replaced.",
                f" -c /etc/frp/{program}.toml\n{program} service install --user -c ./{program}.toml\n{program} service install --print",
            ),
            command("uninstall", "Stop the service and remove it", "The configuration stays."),
            command("status", "Show whether the service runs", "The exit code is 0 when it does."),
        ),
        example=f"sudo {program} service install -c /etc/frp/{program}.toml",
    )
