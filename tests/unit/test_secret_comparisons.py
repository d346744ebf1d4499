"""Secrets are compared in constant time: ``==``, ``!=`` and ``in`` tell by their time how much of a guess is right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "cometbot"
SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|secret|token|signature|credential|key|apikey|digest|hmac|mac|hash|hashed)s?(?:$|_)"
)
PLAIN = {
    "key",
    "keys",
    "signature",
    "digest",
    "conversation_key",
    "key_text",
    "queue_key",
    "queued_keys",
    "known_keys",
    "keys_by_suffix",
}
"""Words that name a secret only together with another one, as ``api_key``, and keys that open nothing."""

READS = {"reveal", "encode", "decode", "strip", "lower", "get", "hexdigest", "digest", "values"}
"""Methods whose result is as secret as what they are called on."""

ALLOWED = {
    ("channels/platform/validators.py", "secret == secret.strip()"): "the form of one's own new secret",
    ("channels/cometchat/client.py", "' ' in api_key"): "the form of one's own key",
    ("channels/cometchat/callback.py", "found.name in self._credentials"): "names of bots",
    ("channels/cometchat/callback.py", "bot in credentials"): "names of bots",
    ("channels/cometchat/callback.py", "name not in self._credentials"): "names of bots",
    ("channels/cometchat/settings.py", "bot in self.credentials"): "names of bots",
    ("channels/cometchat/settings.py", "bot not in self.credentials"): "names of bots",
    ("cli/bots.py", "bot in settings.bot_credentials"): "names of bots",
    ("cli/bots.py", "app not in settings.bot_credentials"): "names of apps",
    ("channels/cometchat/provision.py", "now.password != credentials.password"): "both are Secret: constant-time",
    ("cli/checks/registration.py", "found.password != given.password"): "both are Secret, which is constant-time",
    ("cli/checks/registration.py", "found.password == given.previous"): "both are Secret, which is constant-time",
    ("simulator/rest/auth_tokens.py", "token not in user.auth_tokens"): "tokens of simulated users",
    ("store/leases.py", "token not in self._active_tokens"): "names a lease; opens nothing",
    ("delivery/running_handlers.py", "lease.token in self._abandoned"): "names a lease; opens nothing",
    ("delivery/running_handlers.py", "self._isolated == lease.token"): "names a lease; opens nothing",
    ("delivery/running_handlers.py", "self._isolated == run.lease.token"): "names a lease; opens nothing",
    (
        "channels/simplex/channel.py",
        "_hash_content(item.content.type, item.content.text) == content_hash",
    ): "a text's hash",
    ("store/postgresql_pubsub.py", "token != self._token"): "names a connection; opens nothing",
    ("simulator/membership.py", "password != group.password"): "the simulator protects nothing",
}
"""Comparisons of something that is called like a secret, with the reason why each is harmless."""


def compared(source: str) -> Iterator[str]:
    """Yield the comparisons in ``source`` that a secret may take part in."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            is_test = isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn)
            if is_test and not any(map(is_harmless, (left, right))) and any(map(is_secret, (left, right))):
                yield ast.unparse(ast.Compare(left, [operator], [right]))


def is_harmless(node: ast.expr) -> bool:
    """Return whether a comparison with ``node`` tells nothing: a test for emptiness, or a column, which makes SQL."""
    is_empty = isinstance(node, ast.Constant) and node.value in ("", None)
    return is_empty or ".c." in ast.unparse(node)


def is_secret(node: ast.expr) -> bool:
    word = name_of(node).lower().lstrip("_")
    return bool(SECRET.search(word)) and word not in PLAIN and not node_is_constant(node)


def node_is_constant(node: ast.expr) -> bool:
    """Return whether ``node`` is a constant of a module, such as a set of names."""
    return isinstance(node, ast.Name) and node.id.isupper()


def name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        named = node.slice.value if isinstance(node.slice, ast.Constant) else None
        return named if isinstance(named, str) else name_of(node.value)
    if isinstance(node, ast.Call):
        return name_of_call(node)
    return ""


def name_of_call(node: ast.Call) -> str:
    function = node.func
    if not isinstance(function, ast.Attribute) or function.attr not in READS:
        return name_of(function)
    first = node.args[0] if node.args else None
    if function.attr == "get" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value.replace("-", "_")
    return name_of(function.value) or function.attr


def test_no_secret_is_compared_with_an_operator() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), comparison)
        for path in PACKAGE.rglob("*.py")
        for comparison in compared(path.read_text())
    }
    assert found - set(ALLOWED) == set(), "compare secrets with hmac.compare_digest"
    assert set(ALLOWED) - found == set(), "remove what is not there any more"


@pytest.mark.parametrize(
    "source",
    [
        "given == password",
        "self._secret != given",
        "header == settings.admin_secret",
        "header == settings.admin_secret.reveal()",
        "request.headers.get('x-secret-key') == given",
        "body['token'] == given",
        "given in tokens",
        "given in self.api_keys.values()",
        "_hash(salt, token) == stored",
        "hmac.new(a, b).hexdigest() == signature_of(x)",
        "0 < size and given == user_password",
        "given == password.encode('utf-8')",
    ],
)
def test_comparison_of_a_secret_is_found(source: str) -> None:
    assert len(list(compared(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "password == ''",
        "token is None",
        "key in names",
        "name in SECRET_FIELDS",
        "handler.signature == other",
        "a == b",
    ],
)
def test_comparison_of_something_else_is_not_found(source: str) -> None:
    assert list(compared(source)) == []


@pytest.mark.parametrize(
    ("file", "count"), [("http/auth.py", 3), ("channels/platform/keys.py", 4), ("setting_values.py", 1)]
)
def test_given_secrets_are_compared_in_constant_time(file: str, count: int) -> None:
    assert (PACKAGE / file).read_text().count("hmac.compare_digest(") == count
