import pytest

from frp_py.protocol.go_names import go_arch, go_os


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("linux", "linux"),
        ("linux2", "linux"),
        ("darwin", "darwin"),
        ("win32", "windows"),
        ("cygwin", "windows"),
        ("freebsd14", "freebsd"),
        ("openbsd7.4", "openbsd"),
        ("netbsd10", "netbsd"),
        ("sunos5", "solaris"),
        ("aix", "aix"),
        ("android", "android"),
        ("ios", "ios"),
    ],
)
def test_systems(platform: str, name: str) -> None:
    assert go_os(platform) == name


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("i386", "386"),
        ("i686", "386"),
        ("x86", "386"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("ARM64", "arm64"),
        ("armv7l", "arm"),
        ("armv6l", "arm"),
        ("armv8l", "arm"),
        ("arm", "arm"),
        ("ppc64le", "ppc64le"),
        ("s390x", "s390x"),
        ("riscv64", "riscv64"),
        ("loongarch64", "loong64"),
        ("mips", "mipsle"),
        ("mips64", "mips64le"),
        ("", ""),
    ],
)
def test_processors(machine: str, name: str) -> None:
    assert go_arch(machine) == name


def test_byte_order_tells_the_kinds_of_mips_apart() -> None:
    assert (go_arch("mips", "big"), go_arch("mips64", "big"), go_arch("ppc64", "big")) == ("mips", "mips64", "ppc64")
