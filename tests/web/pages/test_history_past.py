"""The history page: search, figures, charts with their tables, recommendations."""

from __future__ import annotations

import re

import pytest

from tests.rig import Rig


def test_the_history_is_searched_by_name_label_and_time(rig: Rig) -> None:
    rig.fires("Old", "info", host="a")
    rig.passes("2d")
    rig.fires("New", "info", host="b")
    assert "1 incident<" in rig.client.get("/history?since=24h").text
    assert "2 incidents<" in rig.client.get("/history?since=7d").text
    by_name = rig.client.get("/history?alertname=Old").text
    assert "1 incident<" in by_name
    by_label = rig.client.get("/history?label=host%3Db").text
    assert "1 incident<" in by_label
    assert ">New</a>" in by_label
    assert "Nothing opened" in rig.client.get("/history?label=host%3Dnobody").text


@pytest.mark.parametrize("query", ["since=yesterweek", "until=someday"])
def test_an_invalid_time_is_a_400(rig: Rig, query: str) -> None:
    assert rig.client.get(f"/history?{query}").status_code == 400


def test_the_last_day_of_a_search_is_included_completely(rig: Rig) -> None:
    rig.fires("First", "info")
    rig.passes("1d")
    rig.fires("Second", "info")
    page = rig.client.get("/history?until=2026-11-23").text
    assert ">First</a>" in page
    assert ">Second</a>" not in page
    assert ">Second</a>" in rig.client.get("/history?until=2026-11-24").text
    assert "Nothing opened" in rig.client.get("/history?until=2026-11-22").text


def test_alerts_are_ranked_by_their_figures(rig: Rig) -> None:
    for name in ("Nightly", "Nightly", "Once"):
        rig.passes("12h")
        rig.fires(name, "warning")
        rig.passes("2m")
        rig.ends(name, "warning")
    page = rig.client.get("/history").text
    for title in ("The noisiest alerts", "Alerts that nobody acknowledged", "Pages at night"):
        assert f">{title}</h2>" in page
    assert "Fired again soon after they ended" not in page


def test_the_history_shows_durations(rig: Rig) -> None:
    incident = rig.fires("DiskFull")
    rig.passes("3m")
    rig.answers(incident, "acknowledge")
    rig.passes("7m")
    rig.ends("DiskFull")
    page = rig.client.get("/history").text
    row = re.search(r"critical</span></th>(.*?)</tr>", page, re.DOTALL)
    assert re.findall(r">([^<>\s][^<>]*)</td>", row[1]) == ["1", "3m", "3m", "1", "10m", "10m"]


def test_an_alert_that_resolves_by_itself_gets_a_recommendation_with_its_figures(rig: Rig) -> None:
    for number in range(12):
        rig.posts(rig.alert("HighCPUUsage", "warning", n=str(number)), group={"n": str(number)})
        rig.passes("1m" if number < 11 else "20m")
        rig.posts(
            rig.alert("HighCPUUsage", "warning", n=str(number), ended=True, at=rig.clock() - 1),
            group={"n": str(number)},
        )
        rig.works()
    page = rig.client.get("/history").text
    assert "HighCPUUsage: 12 times, 11 gone within 5 min: raise its `for:`" in page
    assert re.search(r"HighCPUUsage</a></th><td class=\"number\">12</td><td class=\"number\">11</td>", page)


def test_pages_at_night_are_counted_in_the_time_zone_of_the_team(rig: Rig) -> None:
    from tests.rig import ROUTING

    rig.configure(
        ROUTING + "business_hours: {timezone: Pacific/Auckland, days: mon-fri, from: '09:00', to: '17:00'}\n"
    )
    rig.fires("DiskFull")  # 12:00 UTC is 01:00 in that time zone
    page = rig.client.get("/history").text
    cells = re.search(r"DiskFull</a></th>(.*?)</tr>", page, re.DOTALL)
    assert re.findall(r">(\d+)</td>", cells[1]) == ["1", "0", "0", "1", "1", "0"]


def test_each_chart_has_a_name_and_its_figures_in_a_table(rig: Rig) -> None:
    rig.fires("DiskFull")
    page = rig.client.get("/history").text
    assert len(re.findall(r'<svg class="chart"[^>]* role="img" aria-label="[^"]+"', page)) == 2
    assert page.count("<table>") >= 3
    assert "style=" not in page


def test_alert_texts_are_escaped_in_the_history(rig: Rig) -> None:
    nasty = "<script>alert(1)</script>"
    rig.fires(nasty)
    page = rig.client.get("/history", query_string={"alertname": nasty, "label": nasty}).text
    assert nasty not in page
    assert nasty not in rig.client.get("/history").text
