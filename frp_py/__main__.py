"""`python -m frp_py server ...` is frps, `... client ...` is frpc, `... demo` shows both at work."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the program that the first argument names and return its exit code."""
    match sys.argv[1:]:
        case ["server" | "frps", *rest]:
            from frp_py.cli.frps import main as program
        case ["client" | "frpc", *rest]:
            from frp_py.cli.frpc import main as program
        case ["demo"]:
            from frp_py.cli.demo import main as demo

            return demo()
        case _:
            print("usage: python -m frp_py server|client [arguments of frps or frpc]\n       python -m frp_py demo", file=sys.stderr)
            return 1
    return program(rest)


if __name__ == "__main__":
    sys.exit(main())
