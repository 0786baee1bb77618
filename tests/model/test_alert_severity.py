"""How the text of a severity label is parsed, and how our matchers test it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model.alert import BUILT_IN, BUILT_IN_WORDS, Severity, SeverityWords
from receiver.model.routing import parse_matcher

CRITICAL = ["critical", "crit", "page", "p0", "p1", "sev0", "sev1", "disaster", "fatal", "emergency"]
ERROR = ["error", "err", "major", "high", "p2", "sev2"]
WARNING = ["warning", "warn", "p3", "sev3", "minor", "medium", "average", "ticket"]
INFO = ["info", "informational", "information", "notice", "low", "debug", "p4", "p5", "sev4", "sev5"]
OWN = SeverityWords({"Störung": Severity.CRITICAL, "ticket-2": Severity.WARNING, "very  bad": Severity.ERROR})


def read(word: str, words: SeverityWords = BUILT_IN_WORDS) -> Severity:
    return words.read_severity({"severity": word})


def fits(matcher: str, word: str | None, words: SeverityWords = BUILT_IN_WORDS) -> bool:
    return parse_matcher(matcher, words).matches({} if word is None else {"severity": word})


@pytest.mark.parametrize(
    ("words", "severity"),
    [
        (CRITICAL, Severity.CRITICAL),
        (ERROR, Severity.ERROR),
        (WARNING, Severity.WARNING),
        (INFO, Severity.INFO),
        (["none"], Severity.NONE),
    ],
)
def test_severity_words_are_case_insensitive(words: list[str], severity: Severity) -> None:
    for word in words:
        for written in (word, word.upper(), word.capitalize(), f" {word}\n"):
            assert read(written) is severity
            assert not BUILT_IN_WORDS.find_unknown_word({"severity": written})


def test_the_built_in_severity_words_are_the_documented_ones() -> None:
    assert set(BUILT_IN) == {*CRITICAL, *ERROR, *WARNING, *INFO, "none"}


def test_configured_severity_words_are_added_to_the_built_in_ones() -> None:
    assert read("STÖRUNG", OWN) is Severity.CRITICAL
    assert read("Ticket-2", OWN) is Severity.WARNING
    assert read("Very Bad", OWN) is Severity.ERROR
    assert read("p1", OWN) is Severity.CRITICAL
    assert read("ticket-2") is Severity.NONE


@pytest.mark.parametrize(
    "labels", [{}, {"severity": ""}, {"severity": "none"}, {"severity": " "}, {"severity": "None"}]
)
def test_an_alert_without_a_severity_causes_no_warning(labels: dict[str, str]) -> None:
    assert BUILT_IN_WORDS.read_severity(labels) is Severity.NONE
    assert BUILT_IN_WORDS.find_unknown_word(labels) == ""


@pytest.mark.parametrize(
    ("word", "shown"), [("wobbly", "wobbly"), ("Wob\u200bbly\n", "Wobbly"), ("x" * 5000, "x" * 59 + "…")]
)
def test_an_unknown_severity_is_shortened_and_shown_on_one_line(word: str, shown: str) -> None:
    assert read(word) is Severity.NONE
    assert BUILT_IN_WORDS.find_unknown_word({"severity": word}) == shown


@pytest.mark.parametrize("word", ["page", "Critical", "P1", "sev0", "CRIT ", "disaster"])
def test_an_alias_of_critical_matches_critical(word: str) -> None:
    assert fits('severity="critical"', word)
    assert fits('severity=~"critical|warning"', word)
    assert not fits('severity!="critical"', word)
    assert not fits('severity!~"crit.*"', word)
    assert not fits('severity="warning"', word)
    assert fits('severity!="warning"', word)


def test_a_matcher_may_name_the_severity_as_it_was_sent() -> None:
    assert fits('severity="page"', "page")
    assert fits('severity=~"pa.e|none"', "page")
    assert not fits('severity="page"', "critical")
    assert not fits('severity="page"', "PAGE")
    assert not fits('severity!="page"', "page")
    assert fits('severity!="page"', "crit")


def test_an_error_matches_warning_but_a_warning_does_not_match_error() -> None:
    for word in ERROR:
        assert fits('severity="error"', word)
        assert fits('severity="warning"', word)
        assert fits('severity=~"warn.*"', word)
        assert not fits('severity="critical"', word)
        assert not fits('severity="info"', word)
        # Neither the label as sent nor the severity parsed from it is a warning, so a route for everything
        # but warnings matches.
        assert fits('severity!="warning"', word)
        assert fits('severity!~"warning|info"', word)
        assert not fits('severity!="error"', word)
    assert not fits('severity="error"', "warning")
    assert Severity.CRITICAL.rank > Severity.ERROR.rank > Severity.WARNING.rank


@pytest.mark.parametrize("word", [None, "", "wobbly"])
def test_an_unknown_severity_is_matched_as_alertmanager_does(word: str | None) -> None:
    for matcher in ('severity="none"', 'severity="critical"', 'severity=~"n.*"', f'severity!="{word or ""}"'):
        assert not fits(matcher, word)
    assert fits('severity!="none"', word)
    assert fits(f'severity="{word or ""}"', word)
    assert fits('severity=~".*"', word)


def test_other_labels_are_matched_unchanged() -> None:
    matcher = parse_matcher('level="critical"', BUILT_IN_WORDS)
    assert not matcher.matches({"level": "page"})
    assert matcher.matches({"level": "critical"})
    assert str(parse_matcher('severity="critical"', BUILT_IN_WORDS)) == 'severity="critical"'


def test_a_configured_severity_word_matches_where_its_severity_does() -> None:
    assert fits('severity="critical"', "störung", OWN)
    assert not fits('severity="critical"', "störung")


@given(
    st.sampled_from(["=", "=~"]),
    st.sampled_from(["critical", "error", "warning", "info", "none", "page", "wobbly", ""]),
    st.sampled_from([*CRITICAL, *WARNING, *INFO, "none", "Page", "wobbly", "", "P3 "]),
)
def test_a_negative_matcher_is_the_opposite_of_the_positive_one(operator: str, value: str, word: str) -> None:
    like = fits(f'severity{operator}"{value}"', word)
    unlike = fits(f'severity!{operator[1:] or "="}"{value}"', word)
    assert like != unlike


@given(st.text(max_size=200))
def test_parsing_a_severity_never_raises_and_an_unknown_word_is_shown(word: str) -> None:
    shown = BUILT_IN_WORDS.find_unknown_word({"severity": word})
    assert len(shown) <= 60
    assert "\n" not in shown
    assert read(word) in Severity
