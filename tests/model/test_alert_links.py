"""The links of an alert, and its runbook."""

from __future__ import annotations

import pytest

from receiver.model.alert_links import (
    MAX_LINKS,
    NamedLink,
    find_label_link,
    find_runbook_link,
    find_unusable_runbook,
    list_alert_links,
)
from tests.builders import an_alert

WIKI = "https://wiki.example.org/disk"


@pytest.mark.parametrize(
    "key",
    [
        "runbook_url",
        "runbook",
        "runbookURL",
        "runbookUrl",
        "runbook_link",
        "playbook",
        "playbook_url",
        "Runbook-URL",
    ],
)
def test_a_runbook_is_found_under_its_usual_keys_in_annotations_and_labels(key: str) -> None:
    assert find_runbook_link(an_alert(annotations={key: WIKI})) == WIKI
    assert find_runbook_link(an_alert(labels={key: WIKI})) == WIKI


def test_the_first_usable_runbook_counts_and_annotations_come_before_labels() -> None:
    alert = an_alert(
        annotations={"playbook": f"{WIKI}/2", "runbook": "see there"}, labels={"runbook_url": f"{WIKI}/3"}
    )
    assert find_runbook_link(alert) == f"{WIKI}/2"
    assert find_unusable_runbook(alert) == ""


@pytest.mark.parametrize("words", ["see the wiki", "javascript:alert(1)", "https://", "file:///etc/passwd"])
def test_a_runbook_without_an_address_leaves_its_words(words: str) -> None:
    alert = an_alert(annotations={"runbook_url": words})
    assert (find_runbook_link(alert), find_unusable_runbook(alert)) == ("", words)


def test_each_annotation_that_is_an_address_is_a_link_named_by_its_key() -> None:
    alert = an_alert(
        generator_url="http://prometheus:9090/graph?g0.expr=up&g0.tab=1",
        annotations={
            "summary": "https://shop.example/health",
            "description": "see https://wiki.example.org",
            "dashboard_url": "https://grafana.example/d/a b",
            "logs": "[Log in to your bank](https://loki.example/x)",
            "playbook": "wiki.example.org/play",
            "panelURL": "<https://grafana.example/p|words>",
            "again": "https://loki.example/x",
            "host": "web-1.example.org",
            "__private__": "https://private.example/x",
            "script": "javascript:alert(1)",
        },
        labels={"url": "https://probe.example/"},
    )
    assert list_alert_links(alert) == (
        NamedLink("Query", "http://prometheus:9090/graph?g0.expr=up&g0.tab=1"),
        NamedLink("Runbook", "https://wiki.example.org/play"),
        NamedLink("Again", "https://loki.example/x"),
        NamedLink("Dashboard", "https://grafana.example/d/a%20b"),
        NamedLink("Panel", "https://grafana.example/p"),
    )


def test_the_source_of_other_senders_is_called_so() -> None:
    (link,) = list_alert_links(
        an_alert(generator_url='https://grafana.example/explore?left={"a":1}', annotations={})
    )
    assert link == NamedLink("Source", "https://grafana.example/explore?left=%7B%22a%22:1%7D")


def test_an_alert_has_a_bounded_number_of_links() -> None:
    alert = an_alert(annotations={f"link{number}": f"https://a.example/{number}" for number in range(100)})
    assert len(list_alert_links(alert)) == MAX_LINKS


def test_labels_are_links_only_as_runbook() -> None:
    assert find_label_link("url", WIKI) == ""
    assert find_label_link("runbook_url", WIKI) == WIKI
