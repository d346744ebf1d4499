"""Renders the Markdown of bots and users as safe HTML for the pages."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

MAX_MARKDOWN_LENGTH = 8 * 1024
"""Characters of a text that are parsed as Markdown. The rest is shown as plain text."""

MAX_BRACKETS = 200
"""The number of ``[`` up to which links are parsed: the parser searches the rest of the text for the end of each."""

MAX_TABLE_CELLS = 2000
"""The number of possible cells up to which tables are parsed: the parser adds the missing cells of each row."""

CACHE_SIZE = 512
"""The number of texts whose HTML is cached: about 40 MB if all have the maximum length."""

_TAGS = {
    "a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "span", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href"}, "ol": {"start"}, "p": {"role", "aria-level"}}
_ALIGNMENTS = {"align": {"left", "center", "right"}}
_SCHEMES = {"http", "https", "mailto", "tel"}
_ABSOLUTE_URL = re.compile(r"(?:https?|mailto|tel):", re.IGNORECASE)
_SCHEME = re.compile(r"(?<![A-Za-z0-9+.-])https?\Z", re.IGNORECASE)
_URL = re.compile(
    r"https?://[^\s<>\u3000-\u3002\u3008-\u3011\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f]+", re.IGNORECASE
)
"""A bare URL and the characters that may follow it. Full-width punctuation is not part of a URL."""

_BRACKETS = {"(": ")", "[": "]"}
_PUNCTUATION = ".,;:!?'\"([\\"
_MENTION = re.compile(r"<@(?:uid:([^<>\s]+)|(all):[^<>\s]+)>")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def to_html(text: str, *, mentions: bool = False) -> str:
    """Return ``text`` as HTML; empty for a blank text.

    The HTML contains only formatting tags, links to http, https, mailto and tel, and no attribute that could run, load
    or style anything. HTML in ``text`` is shown as it was typed. Line breaks are kept. Headings become paragraphs with
    the role ``heading``. Images become links, so that no text can make a reader's browser load something.
    With ``mentions``, CometChat's ``<@uid:tom>`` becomes a ``span`` of the class ``mention`` with the text ``tom``, and
    ``<@all:…>`` one with the text ``all``.

    The HTML of the last :data:`CACHE_SIZE` texts is cached, so that a message is not rendered at each request.
    """
    if not text.strip():
        return ""
    rest = text[MAX_MARKDOWN_LENGTH:]
    return _render(text[:MAX_MARKDOWN_LENGTH], mentions) + (_sanitize(f"<p>{nh3.clean_text(rest)}</p>") if rest else "")


@lru_cache(maxsize=CACHE_SIZE)
def _render(text: str, mentions: bool = False) -> str:
    shown = text.replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")
    return _sanitize(_parser_for(shown, mentions).render(shown))


def _sanitize(html: str) -> str:
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        allowed_classes={"span": {"mention"}},
        tag_attribute_values={"td": _ALIGNMENTS, "th": _ALIGNMENTS},
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    ).strip()


class _Renderer(RendererHTML):
    def image(self, tokens: Any, idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        source = str(token.attrGet("src"))
        label = nh3.clean_text(self.renderInlineAsText(token.children or [], options, env) or source)
        return f'<a href="{nh3.clean_text(source)}">{label}</a>' if _ABSOLUTE_URL.match(source) else label


def _headings_to_paragraphs(state: StateCore) -> None:
    """Replace headings by paragraphs, since a message must not add to the outline of the page."""
    for token in state.tokens:
        if token.type == "heading_open":
            token.tag = "p"
            token.attrs = {"role": "heading", "aria-level": "4"}
        elif token.type == "heading_close":
            token.tag = "p"


def _drop_partial_links(state: StateCore) -> None:
    """Remove links whose target is not an absolute URL; their label stays."""
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = _keep_absolute_links(block.children)


def _keep_absolute_links(tokens: list[Token]) -> list[Token]:
    kept: list[Token] = []
    open_links: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            open_links.append(bool(_ABSOLUTE_URL.match(str(token.attrGet("href")))))
            kept += [token] if open_links[-1] else []
        elif token.type == "link_close":
            kept += [token] if open_links.pop() else []
        else:
            kept.append(token)
    return kept


def _align_columns(state: StateCore) -> None:
    """Replace the style of an aligned cell by an attribute, since the sanitizer removes styles."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open") and token.attrs:
            token.attrs = {"align": str(token.attrs["style"]).removeprefix("text-align:")}


def _link_url(state: StateInline, silent: bool) -> bool:
    """Link a bare URL. This rule runs before emphasis, so that ``*`` and ``_`` in the URL stay part of it."""
    scheme = _SCHEME.search(state.src, max(0, state.pos - 6), state.pos)
    found = scheme and _URL.match(state.src, scheme.start())
    if silent or state.linkLevel or not scheme or not found or not state.pending.endswith(scheme[0]):
        return False
    raw = _strip_punctuation(found[0], {chr(one.marker) for one in state.delimiters if one.open})
    if len(raw) <= len(scheme[0]) + len("://"):
        return False
    url = _ESCAPED.sub(r"\1", raw)
    state.pending = state.pending[: -len(scheme[0])]
    state.push("link_open", "a", 1).attrs = {"href": url}
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1)
    state.pos = scheme.start() + len(raw)
    return True


def _strip_punctuation(url: str, markers: set[str]) -> str:
    """Return ``url`` up to its first unbalanced bracket, without punctuation and ``markers`` of emphasis at its end."""
    opened: list[str] = []
    for index, character in enumerate(url):
        if character in _BRACKETS:
            opened.append(_BRACKETS[character])
        elif character in _BRACKETS.values() and (not opened or opened.pop() != character):
            url = url[:index]
            break
    return url.rstrip(_PUNCTUATION + "".join(markers & set("*_~")))


def _replace_mention(state: StateInline, silent: bool) -> bool:
    found = _MENTION.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.push("mention_open", "span", 1).attrs = {"class": "mention"}
        state.push("text", "", 0).content = (found[1] or found[2]).lower()
        state.push("mention_close", "span", -1)
    state.pos = found.end()
    return True


def _parser_for(text: str, mentions: bool) -> MarkdownIt:
    """Return a parser without the rules whose work for ``text`` would be out of proportion to its length."""
    lines = text.split("\n")
    has_tables = max(line.count("|") + 1 for line in lines) * len(lines) <= MAX_TABLE_CELLS
    return _make_parser(links=text.count("[") <= MAX_BRACKETS, tables=has_tables, mentions=mentions)


@cache
def _make_parser(*, links: bool, tables: bool, mentions: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 30}, renderer_cls=_Renderer)
    parser.enable(["strikethrough", *(["table"] if tables else [])])
    parser.disable([] if links else ["link", "image"])
    parser.inline.ruler.after("text", "link_url", _link_url)
    if mentions:
        parser.inline.ruler.before("autolink", "mention", _replace_mention)
    parser.core.ruler.push("drop_partial_links", _drop_partial_links)
    parser.core.ruler.push("align_columns", _align_columns)
    parser.core.ruler.push("lower_headings", _headings_to_paragraphs)
    return parser
