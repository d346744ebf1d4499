"""What a bot provides to its handlers: objects that are made for one call of a handler and closed after it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from cometbot.commands import Arguments, ProvidedParameter, get_conversion
from cometbot.errors import BotError, RegistrationError

T = TypeVar("T")
Provided: TypeAlias = (
    T | Iterator[T] | AbstractContextManager[T] | Awaitable[T] | AsyncIterator[T] | AbstractAsyncContextManager[T]
)
"""What a function may return that provides objects of a class."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What makes the objects of a class. ``make`` returns the object, or a context manager that is entered.

    ``name`` is that of the author's function. ``is_async`` is true if only async handlers can use it.
    """

    make: Callable[[], Any]
    name: str
    is_async: bool = False

    @classmethod
    def from_function(cls, kind: Any, make: Any) -> Provider:
        """Return the provider for the class ``kind``. Raises :class:`RegistrationError` if it cannot be one."""
        _check_kind(kind)
        name = _get_name(make)
        if not callable(make):
            raise RegistrationError(
                f"provide({kind.__qualname__}, …): expected a function that makes the object, got {make!r}"
            )
        try:
            inspect.signature(make).bind()
        except TypeError:
            raise RegistrationError(
                f"provide({kind.__qualname__}, …): expected a function without arguments, but {name} requires some"
            ) from None
        except ValueError:  # some functions in C have no signature
            pass
        if inspect.isgeneratorfunction(make):
            return cls(contextmanager(make), name)
        if inspect.isasyncgenfunction(make):
            return cls(asynccontextmanager(make), name, is_async=True)
        plain = inspect.unwrap(make)
        return cls(make, name, inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain))

    @classmethod
    def from_value(cls, kind: Any, value: Any) -> Provider:
        """Return the provider of a test: a function or class as for ``provide``, or else the object itself."""
        if isinstance(value, type) or inspect.isroutine(value):
            return cls.from_function(kind, value)
        _check_kind(kind)
        return cls(lambda: nullcontext(value), _get_name(value))


Providers = Mapping[Any, Provider]

_replacements: ContextVar[Providers] = ContextVar("cometbot_replaced_providers", default={})  # noqa: B039  # never changed


@contextmanager
def replace_providers(providers: Providers) -> Iterator[None]:
    """Use ``providers`` before those of any bot until the block ends, in this thread."""
    token = _replacements.set(providers)
    try:
        yield
    finally:
        _replacements.reset(token)


def find_provider(item: ProvidedParameter, handler: str, *, is_async: bool, scopes: Sequence[Providers]) -> Provider:
    """Return the provider for a parameter of ``handler`` in the first of ``scopes`` that has one.

    Raises :class:`RegistrationError` if there is none, or if it is async and the handler is not.
    """
    scope = next((scope for scope in (_replacements.get(), *scopes) if item.provided in scope), None)
    name = item.provided.__qualname__
    if scope is None:
        raise RegistrationError(
            f"{item.name}: {item.provided!r} of {handler} is neither made from text nor provided; call "
            f"bot.provide({name}, …) with a function that makes it, or use str, int, float, bool, Decimal, date, "
            "datetime, an Enum or Literal[…]"
        )
    provider = scope[item.provided]
    if provider.is_async and not is_async:
        raise RegistrationError(
            f"{handler} is a plain function and cannot get {name} from {provider.name}, which is async; make the "
            "handler async def"
        )
    return provider


@dataclass(frozen=True, slots=True)
class ProvidedCall:
    """One call of a handler with objects that are provided.

    ``check`` gets what the handler returned, before the objects are closed; it raises what they shall be closed with.
    """

    function: Callable[..., Any]
    provided: Sequence[tuple[ProvidedParameter, Provider]]
    check: Callable[[Any], None]

    def call(self, ctx: Any, arguments: Arguments) -> Any:
        """Return what a plain handler returns."""
        with ExitStack() as stack:
            objects = [_open(provider, stack) for _, provider in self.provided]
            values, named = self._fill(arguments, objects)
            value = self.function(ctx, *values, **named)
            if inspect.iscoroutine(value):
                return self._finish(value, stack.pop_all())
            self.check(value)
            return value

    async def call_async(self, ctx: Any, arguments: Arguments) -> Any:
        """Return what an async handler returns."""
        async with AsyncExitStack() as stack:
            objects = [await _open_async(provider, stack) for _, provider in self.provided]
            values, named = self._fill(arguments, objects)
            value = await self.function(ctx, *values, **named)
            self.check(value)
            return value

    async def _finish(self, coroutine: Any, stack: ExitStack) -> Any:
        """Return the result of a plain function's coroutine, and close the objects after it."""
        with stack:
            value = await coroutine
            self.check(value)
            return value

    def _fill(self, arguments: Arguments, objects: Sequence[Any]) -> Arguments:
        values, named = list(arguments[0]), dict(arguments[1])
        for (item, _), provided in zip(self.provided, objects, strict=True):
            if item.index is not None and item.index <= len(values):
                values.insert(item.index, provided)
            else:
                named[item.name] = provided
        return values, named


def _open(provider: Provider, stack: ExitStack) -> Any:
    made = provider.make()
    if _is_manager(made):
        return _enter(made, stack)
    if inspect.isawaitable(made) or _is_async_manager(made):
        if inspect.iscoroutine(made):
            made.close()
        raise BotError(f"{provider.name} is async, and only handlers that are async def can use it")
    return made


async def _open_async(provider: Provider, stack: AsyncExitStack) -> Any:
    made = provider.make()
    if inspect.isawaitable(made) and not _is_async_manager(made):
        made = await made
    if _is_async_manager(made):
        value = await made.__aenter__()

        async def close(*raised: Any) -> None:
            await made.__aexit__(*raised)

        stack.push_async_exit(close)
        return value
    return _enter(made, stack) if _is_manager(made) else made


def _enter(manager: Any, stack: ExitStack | AsyncExitStack) -> Any:
    value = manager.__enter__()

    def close(*raised: Any) -> None:  # returns nothing: an error of the handler must not get lost here
        manager.__exit__(*raised)

    stack.push(close)
    return value


def _is_manager(made: Any) -> bool:
    return hasattr(type(made), "__enter__") and hasattr(type(made), "__exit__")


def _is_async_manager(made: Any) -> bool:
    return hasattr(type(made), "__aenter__") and hasattr(type(made), "__aexit__")


def _check_kind(kind: Any) -> None:
    if not isinstance(kind, type):
        raise RegistrationError(f"provide: expected a class and a function that makes it, got {kind!r}")
    try:
        get_conversion(kind)
    except TypeError:
        return
    raise RegistrationError(
        f"provide: {kind.__qualname__} is made from the words of a command; provide a class of your own"
    )


def _get_name(make: Any) -> str:
    return str(getattr(make, "__qualname__", type(make).__qualname__))
