"""What a process that is stopped at the entry of a call holds: its memory, its arguments, its open files."""

from __future__ import annotations

import ctypes
import os


def c_int(value: int) -> int:
    """Return the C int in a 64-bit argument."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def memory(pid: int, address: int, size: int) -> bytes:
    """Return bytes of a process. Errors: OSError."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, address)
    finally:
        os.close(fd)


def text(pid: int, address: int) -> str:
    """Return the text that ends with a NUL at an address. Errors: OSError."""
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    data = b""
    try:
        while b"\0" not in data and len(data) < 8192:
            size = 4096 - (address + len(data)) % 4096  # never across into a page that may not be there
            data += os.pread(fd, size, address + len(data))
    finally:
        os.close(fd)
    return os.fsdecode(data.split(b"\0", 1)[0])


def duplicate_fd(pid: int, number: int) -> int:
    """Return a duplicate of another process's descriptor: the same open file, so the same offset."""
    with open(f"/proc/{pid}/status") as lines:
        leader = next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))
    pidfd = os.pidfd_open(leader)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(438, pidfd, c_int(number), 0)  # pidfd_getfd(2): the same number everywhere
        if fd < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return int(fd)
    finally:
        os.close(pidfd)
