"""jvs: instant, verifiable versions of whole workspaces.

`from jvs import Repository, errors` is the public API. Importing the package itself imports nothing, so that
every command starts fast; the attributes below are loaded on first use (PEP 562).
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Repository", "__version__", "errors"]


def __getattr__(name: str) -> object:
    if name == "Repository":
        from jvs import system

        system.check()
        from jvs.repository import Repository

        return Repository
    if name == "errors":
        import importlib

        return importlib.import_module("jvs.errors")
    raise AttributeError(f"module 'jvs' has no attribute {name!r}")
