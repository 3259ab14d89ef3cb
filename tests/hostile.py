"""Hostile names and paths, in tables that every test of names, arguments and stored records can run over.

The BAD tables must be refused with the class that the comment names and change nothing; the GOOD tables must be taken.
"""

from __future__ import annotations

BAD_WORKTREE_NAMES: tuple[str, ...] = (  # E_NAME_INVALID
    *(
        "",
        ".",
        "..",
        "-",
        "-rf",
        "--force",
        "a/b",
        "/abs",
        "../up",
        "a/../b",
        "a\\b",
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\n",
        "\n",
    ),
    *(
        "a\0b",
        "\0",
        "\x1b[31mred",
        "a\x7f",
        "a:b",
        "a*",
        "a?",
        "[a]",
        "~",
        "$HOME",
        "`id`",
        "a;b",
        "a|b",
        "a&b",
        "'a'",
        '"a"',
    ),
    *(
        "#a",
        "%00",
        "%2e%2e",
        "a" * 65,
        "a" * 256,
        "a" * 100_000,
        "caf\u00e9",
        "cafe\u0301",
        "\u202eevil",
        "\u200b",
        "\ufeffa",
    ),
    *(
        "\uff0e\uff0e",
        "a\u2215b",
        "\U0001f409",
        "\udcff",
        "a\udc80b",
        "\u037e",
        "HEAD~1",
        "@{1h}",
        "a=b",
        "a,b",
        "a@b",
        "a+b",
    ),
)

GOOD_WORKTREE_NAMES: tuple[str, ...] = (
    *(
        "a",
        "A",
        "0",
        "_",
        "...",
        "..a",
        ".hidden",
        "a-",
        "a--b",
        "feature-1.2_x",
        "main2",
        "HEAD",
        "con",
        "a" * 64,
        "0" * 64,
    ),
    *("fork-0a1b2c3d", "1700000000000-0a1b2c3d", ".READY", ".jvs", ".jvs-tmp-x"),
)

BAD_TAGS: tuple[str, ...] = (*BAD_WORKTREE_NAMES, "HEAD")  # E_NAME_INVALID
GOOD_TAGS: tuple[str, ...] = tuple(name for name in GOOD_WORKTREE_NAMES if name != "HEAD")

BAD_SNAPSHOT_IDS: tuple[str, ...] = (  # E_NAME_INVALID wherever an id becomes part of a path
    *("", "-", "1700000000000", "1700000000000-", "-0a1b2c3d", "1700000000000-0a1b2c3", "1700000000000-0a1b2c3d4"),
    *("170000000000-0a1b2c3d", "17000000000000-0a1b2c3d", "1700000000000-0A1B2C3D", "1700000000000_0a1b2c3d"),
    *("1700000000000-0a1b2c3g", " 1700000000000-0a1b2c3d", "1700000000000-0a1b2c3d\n", "1700000000000-0a1b2c3d\0"),
    *("1700000000000-0a1b2c3d/", "1700000000000-0a1b2c3d.tmp", "1700000000000-0a1b2c3d.READY", "../../../../etc/pas"),
    *(
        "../00000000000-0a1b2c3d",
        "/700000000000-0a1b2c3d",
        "170000000000\u0660-0a1b2c3d",
        "\u0661700000000000-0a1b2c3d",
    ),
    *("1700000000000-0a1b2c3\u0665", "1700000000000\u20100a1b2c3d", "+700000000000-0a1b2c3d", "-700000000000-0a1b2c3d"),
    *("..", ".", "HEAD", "\udcff700000000000-0a1b2c3d", "1" * 10_000),
)

GOOD_SNAPSHOT_IDS: tuple[str, ...] = ("1700000000000-0a1b2c3d", "0000000000000-00000000", "9999999999999-ffffffff")

ESCAPING_PATHS: tuple[bytes, ...] = (  # E_PATH_ESCAPE: never joined below a root
    *(b"..", b"../x", b"a/../../x", b"a/..", b"../../../../../../etc/passwd", b"/", b"/etc/passwd", b"//x", b"./../x"),
    *(b"a/b/../../../x", b"/proc/self/root", b"..\0", b"a\0b"),
)

INSIDE_PATHS: tuple[bytes, ...] = (
    *(
        b"a",
        b"a/b",
        b"...",
        b"..a",
        b"a..",
        b".hidden",
        b"-rf",
        b"new\nline",
        b"\xff\xfe",
        b"~",
        b"a/.../b",
        b"a\\..\\b",
    ),
    *(b"%2e%2e/x", b"\xc0\xae\xc0\xae/x", "\uff0e\uff0e/x".encode()),
)

BAD_NOTES: tuple[str, ...] = ("\udcff", "a" * ((1 << 20) + 1))  # E_USAGE

ODD_NOTES: tuple[str, ...] = (
    *(
        "",
        " ",
        "\n",
        "two\nlines",
        "tab\there",
        "-x",
        "--json",
        "HEAD",
        "\x1b[31mred",
        "\u202eevil",
        "caf\u00e9",
        "cafe\u0301",
    ),
    *("\U0001f409", "%s %d {x}", '"quoted"', "back\\slash", "1700000000000-0a1b2c3d", "a" * 100_000),
)

BAD_JSON: tuple[bytes, ...] = (  # refused with the class of the file that they stand in
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b"0",
        b'"text"',
        b"{",
        b"}",
        b"{}x",
        b"{} {}",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
    ),
    *(
        b'{"a":1.5}',
        b'{"a":1e400}',
        b"\xff\xfe{\x00}\x00",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000,
        b"\0" * 512,
    ),
    *(b"{'a':1}", b'{"a":1,}', b'{"a":' + b"9" * 5000 + b"}"),
)
