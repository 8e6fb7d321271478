"""Scripts with which shells complete a program's commands and flags. They are written from the tree of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from frp_py.cli.command import Command
    from frp_py.cli.flags import Flag


def _commands(command: Command) -> Iterator[Command]:
    yield command
    for child in command.children:
        yield from _commands(child)


def _flags(command: Command) -> list[Flag]:
    return sorted((*command.own_flags, *command.global_flags), key=lambda f: f.name)


def _words(command: Command) -> str:
    return " ".join([*(c.name for c in command.children), *(f"--{f.name}" for f in _flags(command))])


def bash(root: Command) -> str:
    """The script for bash. Where nothing fits, e.g. after `-c`, file names are completed."""
    name, commands = root.name, list(_commands(root))
    below = "|".join(f'"{c.path}"' for c in commands if c.parent)
    words = "".join(f'        "{c.path}") words="{_words(c)}" ;;\n' for c in commands)
    valued = "|".join(
        dict.fromkeys(
            w for c in commands for f in _flags(c) if f.kind.bare is None for w in ([f"-{f.short}"] if f.short else []) + [f"--{f.name}"]
        )
    )
    return f"""\
_{name}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} path={name} words i
    case ${{COMP_WORDS[COMP_CWORD - 1]}} in
        {valued}) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path ${{COMP_WORDS[i]}}" in
            {below}) path+=" ${{COMP_WORDS[i]}}" ;;
        esac
    done
    case $path in
{words}    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _{name} {name}
"""


def zsh(root: Command) -> str:
    """The script for zsh, which can use bash's. Loaded by the first completion, it has to do that one too."""
    head = f"#compdef {root.name}\nautoload -U +X bashcompinit && bashcompinit\n"
    return f"{head}{bash(root)}[[ $funcstack[1] != _{root.name} ]] || _bash_complete -o default -F _{root.name}\n"


def fish(root: Command) -> str:
    """The script for fish, with explanations."""
    lines = []
    for command in _commands(root):
        here = [f"__fish_seen_subcommand_from {word}" for word in command.path.split()[1:]]
        below = " ".join(c.name for c in command.children)
        if below:
            here.append(f"not __fish_seen_subcommand_from {below}")
        condition = f"complete -c {root.name} -n '{'; and '.join(here) or 'true'}'"
        lines += [f"{condition} -f -a {c.name} -d {_quoted(c.summary)}" for c in command.children]
        for flag in _flags(command):
            short = f" -s {flag.short}" if flag.short else ""
            lines.append(f"{condition} -l {flag.name}{short}{'' if flag.kind.bare else ' -r'} -d {_quoted(flag.help)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
