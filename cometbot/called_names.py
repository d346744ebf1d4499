"""Find out from its code what a function may call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

_MAX_FUNCTIONS = 200
"""The functions that are looked into at most."""

_FOREIGN = frozenset({"cometbot", *sys.stdlib_module_names})
"""Packages whose functions are not looked into."""


def may_call(function: Callable[..., Any], name: str) -> bool:
    """Return True if ``function``, or a function that its code names, has ``name`` among the names of its code.

    It may be wrong both ways: the name may be that of something else, and a call may be made under another name.
    """
    pending: list[Any] = [function]
    seen: set[CodeType] = set()
    while pending and len(seen) < _MAX_FUNCTIONS:
        found = _find_function(pending.pop())
        if found is None or found.__code__ in seen:
            continue
        seen.add(found.__code__)
        names = set(_list_names(found.__code__))
        if name in names:
            return True
        pending += _find_named(found, names)
    return False


def _find_function(value: Any) -> FunctionType | None:
    """Return the function behind a callable: a method, a partial, something decorated, an object with ``__call__``."""
    plain = inspect.unwrap(getattr(value, "func", value))
    plain = getattr(plain, "__func__", plain)
    if not isinstance(plain, FunctionType):
        plain = type(plain).__call__
    return plain if isinstance(plain, FunctionType) else None


def _list_names(code: CodeType) -> Iterator[str]:
    """Yield the global names and attributes of a code, and of the functions that it defines."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _list_names(constant)


def _find_named(function: FunctionType, names: set[str]) -> Iterator[FunctionType]:
    """Yield the functions of the author that ``names`` may refer to: of the module, another module, or a closure."""
    scopes = [function.__globals__, inspect.getclosurevars(function).nonlocals]
    values = [scope[name] for scope in scopes for name in names if name in scope]
    for value in values:
        if isinstance(value, ModuleType) and not _is_foreign(value.__name__):
            values += [item for name in names if isinstance(item := getattr(value, name, None), FunctionType)]
    for value in values:
        if isinstance(value, FunctionType) and not _is_foreign(value.__module__ or ""):
            yield value


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in _FOREIGN
