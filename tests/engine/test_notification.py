from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from receiver.engine.notification import MAX_SILENCE_LINK, Links, build_silence_link, find_links
from receiver.model.routing import parse_matcher
from tests.builders import a_group, an_alert, an_incident

AM = "http://alertmanager.example:9093"


def test_the_silence_form_is_filled_in_with_the_labels() -> None:
    assert build_silence_link(AM, {"alertname": "DiskFull", "job": "node exporter"}.items()) == (
        f"{AM}/#/silences/new?filter=%7Balertname%3D%22DiskFull%22%2Cjob%3D%22node%20exporter%22%7D"
    )


@pytest.mark.parametrize("address", [AM + "/", AM + "/#/alerts", AM + "//"])
def test_an_address_is_joined_with_one_slash(address: str) -> None:
    assert build_silence_link(address, {"a": "b"}.items()) == f"{AM}/#/silences/new?filter=%7Ba%3D%22b%22%7D"


def test_the_path_prefix_of_alertmanager_stays_in_the_link() -> None:
    link = build_silence_link("https://monitor.example/alertmanager/", {"a": "b"}.items())
    assert link.startswith("https://monitor.example/alertmanager/#/silences/new?")


@pytest.mark.parametrize(
    "address", ["", "alertmanager:9093", "javascript:alert(1)", "http://a b", "http://a|b"]
)
def test_without_a_web_address_there_is_no_link(address: str) -> None:
    assert build_silence_link(address, {"a": "b"}.items()) == ""


def test_quotes_backslashes_and_line_ends_in_values_are_escaped() -> None:
    link = build_silence_link(AM, {"path": 'C:\\"x"\n'}.items())
    assert unquote(link.partition("filter=")[2]) == '{path="C:\\\\\\"x\\"\\n"}'


def test_a_label_name_that_only_newer_alertmanagers_allow_is_quoted() -> None:
    link = build_silence_link(AM, {"k8s.pod": "web", 'say "hi"': "x"}.items())
    assert unquote(link.partition("filter=")[2]) == '{"k8s.pod"="web","say \\"hi\\""="x"}'


@pytest.mark.parametrize("labels", [{}, {"a": "x" * MAX_SILENCE_LINK}])
def test_the_silence_form_is_empty_if_its_matchers_would_match_other_alerts(labels: dict[str, str]) -> None:
    assert build_silence_link(AM, tuple(labels.items())) == f"{AM}/#/silences/new"


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=1))
def test_the_link_has_all_labels_whatever_their_characters(labels: dict[str, str]) -> None:
    link = build_silence_link(AM, tuple(labels.items()))

    assert link.isascii()
    assert set(link) & set("<>|\"' {}\\`") == set()
    assert urlsplit(link).netloc == "alertmanager.example:9093"
    if labels:
        matcher = parse_matcher(unquote(link.partition("filter=")[2])[1:-1])
        assert {matcher.name: matcher.value} == labels


def test_an_incident_has_all_its_links() -> None:
    incident = an_incident()

    assert find_links(
        incident,
        public_url="https://receiver.example/",
        message="https://example.slack.com/archives/C1/p1",
        more=(("Grafana", "http://grafana.example:3000"), ("Shell", "ssh://host")),
    ) == Links(
        incident=f"https://receiver.example/incidents/{incident.id}",
        silence=f"{AM}/#/silences/new?filter=%7Balertname%3D%22HighCPUUsage%22%2Cinstance%3D%22web-1%3A9100%22%2C"
        "severity%3D%22critical%22%7D",
        source="http://prometheus.example:9090/graph?g0.expr=cpu+%3E+0.9&g0.tab=1",
        message="https://example.slack.com/archives/C1/p1",
        more=(("Grafana", "http://grafana.example:3000"),),
    )


def test_links_without_an_address_are_empty() -> None:
    incident = an_incident(group=a_group(an_alert(generator_url=""), external_url=""))
    assert find_links(incident) == Links()


def test_only_http_links_are_used() -> None:
    incident = an_incident(group=a_group(an_alert(generator_url="javascript:x"), external_url="file:///etc"))
    links = find_links(
        incident,
        public_url="javascript:x",
        alertmanager_url="x",
        message="<!channel>",
    )
    assert links == Links()


def test_the_configured_alertmanager_is_preferred_to_the_sender() -> None:
    links = find_links(an_incident(), alertmanager_url="https://am.example")
    assert links.silence.startswith("https://am.example/#/silences/new?filter=")


def test_without_group_labels_the_silence_has_the_labels_that_all_firing_alerts_share() -> None:
    alerts = (
        an_alert("A", instance="1", labels={"job": "node"}),
        an_alert("A", instance="2", labels={"job": "node"}),
        an_alert("B", instance="3", ends_at=9e9),
    )
    links = find_links(an_incident(group=a_group(*alerts, group_labels={})))
    assert unquote(links.silence).endswith('{alertname="A",job="node",severity="critical"}')


def test_the_generator_link_is_that_of_the_first_firing_alert_with_one() -> None:
    over = an_alert(instance="1", ends_at=9e9, generator_url="http://over.example")
    mute = an_alert(instance="2", generator_url="")
    tells = an_alert(instance="3", generator_url="http://tells.example")
    assert find_links(an_incident(over, mute, tells)).source == "http://tells.example"


def test_links_are_built_without_alerts_that_were_not_loaded() -> None:
    incident = replace(an_incident(group=a_group(group_labels={})), alerts={})
    assert find_links(incident).silence == f"{AM}/#/silences/new"


def test_a_sender_that_copies_the_format_of_alertmanager_has_no_silence_form() -> None:
    incident = an_incident(group=a_group(has_silence_form=False))
    assert find_links(incident).silence == ""
    assert find_links(incident, alertmanager_url=AM).silence == ""


def test_the_form_has_the_matchers_of_our_silence_and_is_blank_where_there_are_several() -> None:
    alike = an_incident(an_alert("A", instance="1"), an_alert("A", instance="2"))
    assert unquote(find_links(alike).silence).endswith('{alertname="A",severity="critical"}')
    different = an_incident(group=a_group(an_alert("A"), an_alert("B"), group_labels={"job": "node"}))
    assert find_links(different).silence == f"{AM}/#/silences/new"


def test_unsafe_characters_of_a_source_are_encoded() -> None:
    incident = an_incident(an_alert(generator_url='https://grafana.example/explore?left={"a": 1}'))
    assert find_links(incident).source == "https://grafana.example/explore?left=%7B%22a%22:%201%7D"
