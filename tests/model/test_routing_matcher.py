"""Matchers: with the meaning they have in Alertmanager, and fast whatever a label contains.

Alertmanager uses Go's regexp, which has the syntax of RE2: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.model.routing import parse_matcher
from receiver.regexes import compile_full_match, compile_with_timeout

COMPILERS = (compile_full_match, compile_with_timeout)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes more CPU time than *seconds*; other processes do not count."""
    started = time.process_time()
    yield
    assert time.process_time() - started < seconds


# --- time ---

# Python's `re` needs minutes or more for each of these.
CATASTROPHES = [
    ("([a-z0-9-]+[.]?)+:9100", "a" * 40),
    ("(a+)+b", "a" * 60),
    ("(a|a)*b", "a" * 60),
    ("(a|aa)+b", "a" * 100),
    ("(.*)*x", "y" * 100),
    ("(x+x+)+y", "x" * 100),
    (".*.*.*.*.*.*=.*", "k" * 3000),
    ("([a-zA-Z]+)*[0-9]", "z" * 1000),
    ("(a?){50}a{50}b", "a" * 100),
]


@pytest.mark.parametrize(("expression", "value"), CATASTROPHES)
@pytest.mark.parametrize("operator", ["=~", "!~"])
def test_no_label_value_makes_a_matcher_slow(expression: str, value: str, operator: str) -> None:
    matcher = parse_matcher(f'instance{operator}"{expression}"')
    with within(0.5):
        assert matcher.matches({"instance": value}) is (operator == "!~")


@pytest.mark.parametrize(("expression", "value"), CATASTROPHES)
def test_without_re2_it_is_refused_or_bounded_in_time(expression: str, value: str) -> None:
    with within(1.0):
        try:
            fits = compile_with_timeout(expression)
        except ValueError as error:
            reason = str(error)
        else:
            reason = "" if fits(value) else "a repeat within a repeat"
    assert "a repeat within a repeat" in reason


@pytest.mark.parametrize(
    "expression", ["(a+)+", "(?:a*b?)*", "((ab){2,})*", "(a|b+)+", "(?:(?:x{3})y)+", "(a{0,9})*"]
)
def test_without_re2_a_repeat_within_a_repeat_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="a repeat within a repeat may take for ever"):
        compile_with_timeout(expression)


@pytest.mark.parametrize(
    "expression", ["a+b+", "(?:ab?)+", "(a|b)+", "db-[0-9]{1,3}(:[0-9]+)?", "(prod|staging)-.*"]
)
def test_without_re2_usual_expressions_are_accepted(expression: str) -> None:
    assert not compile_with_timeout(expression)("")


@pytest.mark.parametrize(
    "text",
    [
        " " * 50_000 + '"',
        "a=" + " " * 50_000 + '"',
        "a=" + "b," * 50_000,
        "a=" + ",a " * 50_000,
        "a=" + "," * 50_000,
        'a="' + "\\" * 99_999,
        '"' + "\\" * 99_999,
        '"' + '\\"' * 50_000,
        "a" * 100_000,
        "a=~" + "(" * 100_000,
        "a=~" + "a{1000}" * 10_000,
        "a=~" + "(a{100}){100}",
        "a=~((((((((((a{9}){9}){9}){9}){9}){9}){9}){9}){9}){9})",
    ],
)
def test_parsing_a_matcher_takes_linear_time(text: str) -> None:
    with within(0.5):
        try:
            parse_matcher(text)
        except ValueError:
            return
        assert text.startswith("a=")


# --- meaning ---


@pytest.mark.parametrize(
    ("expression", "fits", "non_matching"),
    [
        ("web", ["web"], ["web-1", "a web", "", "web\n"]),
        ("web|db", ["web", "db"], ["webdb", "web|db", "xdb"]),
        ("a.b", ["a-b", "aäb"], ["a\nb", "ab"]),
        ("(?s)a.b", ["a\nb"], ["ab"]),
        ("", [""], ["x"]),
        (".*", ["", "x y"], ["a\nb"]),
        ("(?i)prod", ["PROD", "Prod"], ["production"]),
        (r"\d+", ["12"], ["١٢", "1a"]),  # ASCII digits only, unlike in Python
        (r"\w+", ["a_1"], ["ä"]),
        (r"\pL+", ["äß"], ["1"]),
        (r"[[:digit:]]+", ["7"], ["a"]),
        (r"\Qa.b\E", ["a.b"], ["axb"]),
        (r"^web$", ["web"], ["web\n"]),
        (r"a\z", ["a"], ["a\n"]),
        ("(?P<host>db)-1", ["db-1"], ["db"]),
        (r"\x{1F600}", ["😀"], ["x"]),
        ("x*?y", ["xxy", "y"], ["x"]),
    ],
)
def test_expressions_have_the_meaning_of_alertmanager(
    expression: str, fits: list[str], non_matching: list[str]
) -> None:
    test = compile_full_match(expression)
    assert [value for value in fits if not test(value)] == []
    assert [value for value in non_matching if test(value)] == []


@pytest.mark.parametrize(
    "expression",
    [
        "(",
        "a{2,1}",
        "a{1001}",
        "(?<!a)b",
        "(?=a)a",
        r"(a)\1",
        r"\Z",
        "x*+",
        "[b-a]",
        "*a",
        r"a\Cb",
        "(?#c)",
        "a" * 4097,
    ],
)
def test_expressions_that_alertmanager_refuses_are_refused_with_a_reason(expression: str) -> None:
    with pytest.raises(ValueError, match=r"has a regular expression that can't be read: .{8}"):
        parse_matcher(f"a=~{expression}")


@pytest.mark.parametrize("value", ["\udce9", "a\x00b", "\U0010ffff"])
def test_special_characters_in_a_label_value_are_matched_literally(value: str) -> None:
    assert parse_matcher("a=~.+").matches({"a": value})
    assert not parse_matcher("a=~b").matches({"a": value})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('severity="critical"', ("severity", "=", "critical")),
        ("severity=critical", ("severity", "=", "critical")),
        (' severity  !=  "a b" ', ("severity", "!=", "a b")),
        (r'a=~"x\"y\\z\n"', ("a", "=~", 'x"y\\z\n')),
        ('"a b"=c', ("a b", "=", "c")),
        ("a=", ("a", "=", "")),
        ('a=""', ("a", "=", "")),
        ("a!~b|c", ("a", "!~", "b|c")),
        ('a="x, b=c"', ("a", "=", "x, b=c")),
        ("a=x,y", ("a", "=", "x,y")),
        ("a=b=c", ("a", "=", "b=c")),
        ("größe=1", ("größe", "=", "1")),
    ],
)
def test_the_forms_of_a_matcher(text: str, parts: tuple[str, str, str]) -> None:
    matcher = parse_matcher(text)
    assert (matcher.name, matcher.operator, matcher.value) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "=b",
        "a==b",
        "a='b'",
        'a="b',
        'a=b"',
        'a="b"c',
        "a=b, c=d",
        'a="b",c="d"',
        "{a=b}",
        "a b=c",
        "a=<b",
    ],
)
def test_text_that_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no matcher like"):
        parse_matcher(text)


# --- against a reference ---


@dataclass(frozen=True)
class Node:
    """An expression, and which ends it reaches from each start in a text."""

    written: str
    ends: Callable[[str, frozenset[int]], frozenset[int]]
    has_repeat: bool = False


def _single(written: str, accepts: Callable[[str], bool]) -> Node:
    return Node(written, lambda text, at: frozenset(i + 1 for i in at if i < len(text) and accepts(text[i])))


def _sequence(first: Node, second: Node) -> Node:
    return Node(
        first.written + second.written,
        lambda text, at: second.ends(text, first.ends(text, at)),
        first.has_repeat or second.has_repeat,
    )


def _alternative(first: Node, second: Node) -> Node:
    return Node(
        f"(?:{first.written}|{second.written})",
        lambda text, at: first.ends(text, at) | second.ends(text, at),
        first.has_repeat or second.has_repeat,
    )


def _repeated(inner: Node, least: int, most: int | None) -> Node:
    def ends(text: str, at: frozenset[int]) -> frozenset[int]:
        for _ in range(least):
            at = inner.ends(text, at)
        reached, count = at, least
        while at and (most is None or count < most):
            at, count = inner.ends(text, at) - reached, count + 1
            reached |= at
        return reached

    sign = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most), f"{{{least},{most or ''}}}")
    return Node(f"(?:{inner.written}){sign}", ends, has_repeat=True)


ATOMS = st.sampled_from(
    [
        *(_single(letter, letter.__eq__) for letter in "abä-"),
        _single(".", lambda c: c != "\n"),
        _single("[a-c]", lambda c: "a" <= c <= "c"),
        _single("[^a]", lambda c: c != "a"),
        _single(r"\.", ".".__eq__),
        _single(r"\n", "\n".__eq__),
    ]
)
BOUNDS = st.sampled_from([(0, None), (1, None), (0, 1), (2, 3), (2, None), (0, 2)])


def _grow(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    return st.one_of(
        st.builds(_sequence, nodes, nodes),
        st.builds(_alternative, nodes, nodes),
        st.builds(lambda node, bounds: _repeated(node, *bounds), nodes, BOUNDS),
    )


NODES = st.recursive(ATOMS, _grow, max_leaves=8)


@settings(max_examples=400, deadline=None)
@given(NODES, st.text("abcä-.\n", max_size=12))
def test_an_expression_matches_like_a_linear_reference(node: Node, text: str) -> None:
    expected = len(text) in node.ends(text, frozenset({0}))
    assert compile_full_match(node.written)(text) is expected
    try:
        fits = compile_with_timeout(node.written)
    except ValueError:
        assert node.has_repeat
    else:
        assert fits(text) is expected
