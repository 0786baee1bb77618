"""Links and code in what senders send, in Slack, in PagerDuty, on the page, in the API and on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rig import Rig
from tests.story.test_senders import sends

PODS = "Pods that crash:\n```\nNAME    READY\nweb-1   0/1\nweb-22  0/1\n```\nSee https://wiki.example.org/pods#crash."


@pytest.mark.parametrize(
    ("key", "written", "link"),
    [
        ("runbook_url", "https://wiki.example.org/Disk full", "https://wiki.example.org/Disk%20full"),
        ("runbook", "[Runbook](https://wiki.example.org/disk)", "https://wiki.example.org/disk"),
        ("runbookURL", "<https://wiki.example.org/disk|Runbook>", "https://wiki.example.org/disk"),
        ("playbook", "wiki.example.org/disk", "https://wiki.example.org/disk"),
        ("dashboard_url", "https://grafana.example/d/{x}", "https://grafana.example/d/%7Bx%7D"),
    ],
)
def test_an_address_is_a_link_everywhere(rig: Rig, key: str, written: str, link: str) -> None:
    found = sends(rig, rig.payload(_annotated(rig, "DiskFull", {"summary": "full", key: written})))
    assert f"<{link}|" in found.slack
    assert link in found.page["custom_details"]["alerts"][0]["links"].values()
    assert f'href="{link}"' in found.web
    assert link in [one["url"] for one in found.api["alerts"][0]["links"]]
    assert f": {link}\n" in found.cli


def _annotated(rig: Rig, name: str, annotations: dict[str, str]) -> dict[str, Any]:
    return rig.alert(name) | {"annotations": annotations}


def test_a_raw_source_is_encoded_everywhere(rig: Rig) -> None:
    alert = rig.alert("LokiErrors") | {"generatorURL": 'https://grafana.example/explore?left={"a":"b"}'}
    found = sends(rig, rig.payload(alert))
    link = "https://grafana.example/explore?left=%7B%22a%22:%22b%22%7D"
    assert f"<{link}|Source>" in found.slack
    assert all(link in text for text in found.texts)


def test_a_runbook_that_is_no_address_is_shown_as_text(rig: Rig) -> None:
    found = sends(rig, rig.payload(_annotated(rig, "DiskFull", {"runbook_url": "javascript:alert(1)"})))
    assert "📖 Runbook: javascript:alert(1)" in found.slack
    assert 'href="javascript:' not in found.web
    assert found.everywhere("javascript:alert(1)")


def test_an_address_in_the_words_about_a_runbook_is_a_link_as_itself(rig: Rig) -> None:
    words = "ask ops, see https://wiki.example.org/a or [here](https://wiki.example.org/b)"
    found = sends(rig, rig.payload(_annotated(rig, "DiskFull", {"runbook_url": words})))
    shown = "ask ops, see <https://wiki.example.org/a> or here (<https://wiki.example.org/b>)"
    assert f"📖 Runbook: {shown}" in found.slack
    plain = "ask ops, see https://wiki.example.org/a or here (https://wiki.example.org/b)"
    assert found.page["custom_details"]["runbook"] == plain
    assert f"Runbook: {plain}\n" in found.cli
    assert all(f'href="https://wiki.example.org/{page}"' in found.web for page in "ab")


def test_a_code_fence_keeps_its_columns_everywhere(rig: Rig) -> None:
    found = sends(rig, rig.payload(_annotated(rig, "PodsCrash", {"summary": "2 crash", "description": PODS})))
    columns = "NAME    READY\nweb-1   0/1\nweb-22  0/1"
    assert f"```\n{columns}\n```\nSee <https://wiki.example.org/pods#crash>." in found.slack
    assert f"```\n{columns}\n```" in found.page["custom_details"]["alerts"][0]["annotations"]["description"]
    assert f'<pre tabindex="0">{columns}</pre>' in found.web
    assert '<a href="https://wiki.example.org/pods#crash" rel="noreferrer">' in found.web
    assert all(f"  {line}\n" in found.cli for line in columns.split("\n"))


def test_direction_overrides_go_from_names_and_labels_too(rig: Rig) -> None:
    alert = rig.alert("Disk\u202eFull", **{"p\u202eod": "x\u202egpj.exe", "instance": "\u2066db\u200b-1"})
    found = sends(rig, rig.payload(alert | {"annotations": {"summary": "s\u202et", "no\u202ete": "n"}}))
    for text in (found.slack, json.dumps(found.page, ensure_ascii=False), found.web, found.cli):
        assert not set("\u202e\u2066\u200b") & set(text)
        assert "xgpj.exe" in text
        assert "db-1" in text


def test_joiners_stay_and_direction_overrides_go(rig: Rig) -> None:
    summary = "می\u200cخواهم 👨\u200d👩\u200d👧 \u202eevil\u202c\u200b\ufeff"
    found = sends(rig, rig.payload(_annotated(rig, "Persian", {"summary": summary})))
    for text in (found.slack, found.page["summary"], found.web, found.cli):
        assert "می\u200cخواهم 👨\u200d👩\u200d👧 evil" in text
