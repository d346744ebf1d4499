"""Markdown becomes HTML in which nothing runs, loads or leads where it should not."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cometbot.http.page.markdown import MAX_MARKDOWN_LENGTH, _render, to_html

PLAIN = ("blockquote", "br", "code", "em", "hr", "li", "pre", "s", "strong", "ul")
TABLE = ("table", "tbody", "td", "th", "thead", "tr")
ALLOWED: dict[str, set[str]] = {
    "a": {"href", "target", "rel"},
    "ol": {"start"},
    "p": {"role", "aria-level"},
    "span": {"class"},
    **{name: set() for name in (*PLAIN, *TABLE)},
    "td": {"align"},
    "th": {"align"},
}
WORDS = st.sampled_from(
    ["<script>alert(1)</script>", "<img src=x onerror=a()>", "[a](javascript:alert(1))", "![p](http://x/y.png)", "**",
     "[a](//evil.example)", "[a](/v1/admin-api/config)", "`", "```\n", "> ", "- ", "1. ", "| a | b |\n|-|-|\n", "\n",
     "https://example.com/a?b=1&c=2", "# ", "~~", "_", "*", "<style>", "&lt;", "&#106;avascript:", "\0",
     "[a]: data:x", "<@uid:tom>"]
)  # fmt: skip


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=25).map("".join)))
@example('<a href="javascript:alert(1)">x</a>')
@example("[x](data:text/html,<script>alert(1)</script>)")
def test_no_text_passes_a_forbidden_tag_attribute_or_link(text: str) -> None:
    for tag, attributes in Reader(to_html(text, mentions=True)).tags:
        assert tag in ALLOWED
        assert set(attributes) <= ALLOWED[tag]
        if tag == "a":
            assert str(attributes["href"]).lower().startswith(("http://", "https://", "mailto:", "tel:"))
            assert attributes["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and *soft*", "<p><strong>bold</strong> and <em>soft</em></p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("~~gone~~", "<p><s>gone</s></p>"),
        ("# Title", '<p role="heading" aria-level="4">Title</p>'),
        ("3. three", '<ol start="3">\n<li>three</li>\n</ol>'),
        ("`a < b`", "<p><code>a &lt; b</code></p>"),
        ("```python\nx = 1\n```", "<pre><code>x = 1\n</code></pre>"),
        ("<b>typed</b>", "<p>&lt;b&gt;typed&lt;/b&gt;</p>"),
        (" \n\t", ""),
    ],
)
def test_markdown_looks_as_people_expect(text: str, html: str) -> None:
    assert to_html(text) == html


@pytest.mark.parametrize(
    ("text", "href", "label"),
    [
        ("see https://example.com/a?b=1&c=2.", "https://example.com/a?b=1&c=2", "https://example.com/a?b=1&c=2"),
        ("(http://example.com)", "http://example.com", "http://example.com"),
        ("[here](https://example.com)", "https://example.com", "here"),
        ("![a picture](https://example.com/p.png)", "https://example.com/p.png", "a picture"),
        ("<https://example.com>", "https://example.com", "https://example.com"),
    ],
)
def test_an_address_becomes_a_link_however_it_is_written(text: str, href: str, label: str) -> None:
    found = Reader(to_html(text))
    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == [href]
    assert label in found.text


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.python.org/3/library/__main__.html",
        "https://pkg.example/a/__init__",
        "https://en.wikipedia.org/wiki/Python_(programming_language)",
        "https://x.example/a*b*c",
        "https://shop.example/p/_new_/a",
        "https://x.example/~~old~~/`a`",
        "https://x.example/?a=1&copy=2&lt=3",
        "http://[::1]:8000/a",
        "HTTPS://EXAMPLE.COM/A",
        "https://de.wikipedia.org/wiki/Grüße",
    ],
)
def test_bare_url_is_one_link(url: str) -> None:
    found = Reader(to_html(f"See {url} now, or ({url}). **{url}**"))

    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == [url] * 3


@pytest.mark.parametrize(
    ("text", "href"),
    [
        ("请看https://example.com/a。谢谢", "https://example.com/a"),
        ("（https://example.com/a）", "https://example.com/a"),
        ("**see https://example.com/a**", "https://example.com/a"),
        ("_https://example.com/a_", "https://example.com/a"),
        ("~~https://example.com/a~~!", "https://example.com/a"),
        (r"https://example.com/a\_b\_c", "https://example.com/a_b_c"),
        ("(https://example.com/a) b)", "https://example.com/a"),
        ("https://example.com/a?!", "https://example.com/a"),
    ],
)
def test_bare_url_ends_before_punctuation(text: str, href: str) -> None:
    assert [attributes["href"] for tag, attributes in Reader(to_html(text)).tags if tag == "a"] == [href]


def test_url_in_a_links_label_is_no_second_link() -> None:
    found = Reader(to_html("[see https://a.example/b](https://c.example)"))

    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == ["https://c.example"]
    assert found.text == "see https://a.example/b"


def test_table_columns_keep_their_alignment() -> None:
    found = Reader(to_html("|a|b|c|d|\n|:--|:-:|--:|---|\n|1|2|3|4|"))

    aligned = [attributes.get("align") for tag, attributes in found.tags if tag in ("th", "td")]
    assert aligned == ["left", "center", "right", None] * 2


@pytest.mark.parametrize("text", ["`https://example.com`", "```\nhttps://example.com\n```"])
def test_an_address_in_code_stays_code(text: str) -> None:
    assert "<a" not in to_html(text)


@pytest.mark.parametrize("text", ["[a](/v1/admin-api/config)", "[a](//evil.example)", "[a](page)", "[a](#top)"])
def test_a_link_leads_to_a_whole_address_or_nowhere(text: str) -> None:
    found = Reader(to_html(text))
    assert [attributes for tag, attributes in found.tags if tag == "a" and attributes.get("href")] == []
    assert found.text.strip() == "a"


@pytest.mark.parametrize(
    "text", ["[" * 8000, "![" * 4000, "*a " * 3000, "> " * 4000, "`" * 8000, "<a " * 3000, "_a__b" * 1600, "|a" * 4000],
    ids=lambda text: text[:4],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    begun = time.thread_time()
    to_html(text)
    assert time.thread_time() - begun < 10  # what grows with the square of the length takes minutes


def test_a_text_of_any_length_is_shown_to_its_end() -> None:
    text = "word " * MAX_MARKDOWN_LENGTH + "the end <b>"
    assert Reader(to_html(text)).text.endswith("the end <b>")


def test_many_brackets_are_shown_as_they_are() -> None:
    text = "[x](https://example.com) " * 300
    assert Reader(to_html(text)).text.count("[x](") == 300


@pytest.mark.parametrize(
    "text",
    [
        "|a" * 700 + "|\n" + "|-" * 700 + "|\n" + "x\n" * 640,
        "|a" * 40 + "\n" + "|-" * 40 + "\n" + "x\n" * 4000,
        "|a" * 700 + "|\r" + "|-" * 700 + "|\r" + "x\r" * 640,
        "*_" * 4000,
        "<http://a" * 900,
        "[a](b " * 1300,
    ],
    ids=range(6),
)
def test_no_text_becomes_many_times_its_length(text: str) -> None:
    assert len(to_html(text)) < 20 * len(text)


def test_a_table_of_ordinary_size_is_one() -> None:
    rows = "\n".join(f"| {number} | {number * 2} |" for number in range(100))

    assert to_html(f"| a | b |\n| - | - |\n{rows}").count("<tr>") == 101


def test_text_is_rendered_once() -> None:
    _render.cache_clear()
    texts = [f"**message {number}**" for number in range(100)] + ["x" * MAX_MARKDOWN_LENGTH + "more"]
    for _ in range(3):
        for text in texts:
            to_html(text)

    assert _render.cache_info().misses == len(texts)


@pytest.mark.parametrize(
    "piece",
    [
        "- * a\n", "a\n- - ", "* a\n", "&\n", "<\n", "# a\n=\n", "[\n", "**a *b", "_a__b", "`", "``a`", "[a](", "![",
        "> ", "> - ", "|a", "a|b\n-|-\n", "http://a ", "~~a", "\\", "[a]: b\n", "<http://", "<@uid:", "\n", "1. ",
        "```\n", "&#", "*", "___", "http://a(", "http://a)", "http://a*", "http://a*)", "http:", "http://a\\", "[http://a",
    ],
)  # fmt: skip
def test_time_grows_with_the_length(piece: str) -> None:
    def fastest(length: int) -> float:
        rounds = []
        for _ in range(3):
            begun = time.thread_time()
            _render.__wrapped__((piece * length)[:length], True)
            rounds.append(time.thread_time() - begun)
        return min(rounds)

    slow = fastest(MAX_MARKDOWN_LENGTH)
    # 8 times the text; what is quadratic takes 64 times as long.
    assert slow < 0.1 or slow < 24 * fastest(MAX_MARKDOWN_LENGTH // 8)


def test_megabytes_take_no_longer_than_what_is_read_of_them() -> None:
    begun = time.thread_time()
    to_html("- * a\n" * 200_000)
    assert time.thread_time() - begun < 2


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Ask <@uid:Tom>.", '<p>Ask <span class="mention">tom</span>.</p>'),
        ("<@all:everybody>", '<p><span class="mention">all</span></p>'),
        ("**<@uid:tom>**", '<p><strong><span class="mention">tom</span></strong></p>'),
        ("`<@uid:tom>`", "<p><code>&lt;@uid:tom&gt;</code></p>"),
        ("<@uid:a&b>", '<p><span class="mention">a&amp;b</span></p>'),
        ("<@uid:>", "<p>&lt;@uid:&gt;</p>"),
    ],
)
def test_mention_becomes_a_span_where_asked(text: str, html: str) -> None:
    assert to_html(text, mentions=True) == html
    assert "<span" not in to_html(text)
