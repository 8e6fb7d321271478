"""The names that Go has for systems and processors, as Login carries them (wire.md 3.4)."""

_SYSTEMS = {"win32": "windows", "cygwin": "windows", "sunos": "solaris"}
_PROCESSORS = {
    "x86_64": "amd64",
    "x64": "amd64",
    "x86": "386",
    "i86pc": "amd64",
    "aarch64": "arm64",
    "armv8b": "arm64",
    "loongarch64": "loong64",
    "powerpc": "ppc",
    "powerpc64": "ppc64",
    "powerpc64le": "ppc64le",
}


def go_os(platform: str) -> str:
    """`sys.platform` in Go's words: `linux`, `darwin`, `windows`, `freebsd`, …"""
    name = platform.lower().rstrip("0123456789.") if platform != "win32" else platform
    return _SYSTEMS.get(name, name)


def go_arch(machine: str, byteorder: str = "little") -> str:
    """`platform.machine()` in Go's words: `amd64`, `arm64`, `386`, `arm`, …; `byteorder` is `sys.byteorder`."""
    name = machine.lower()
    if len(name) == 4 and name[0] == "i" and name.endswith("86"):
        return "386"
    if name in _PROCESSORS:
        return _PROCESSORS[name]
    if name.startswith("arm") and name != "arm64":
        return "arm"
    if name in ("mips", "mips64") and byteorder == "little":
        return f"{name}le"
    return name
