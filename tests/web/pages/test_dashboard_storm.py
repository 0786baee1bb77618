"""The page of a storm: its members, a hundred per page, and acknowledging all of them."""

from __future__ import annotations

from tests.rig import ROUTING, Rig
from tests.web.locations import leads_to, list_links, resolve


def start_storm(rig: Rig, count: int) -> str:
    """Fire *count* groups at once; return the path of their storm."""
    rig.configure(ROUTING + "limits: {}\n")
    for n in range(count):
        rig.posts(rig.alert(f"Alert{n % 3}", host=str(n)), group={"host": str(n)})
    rig.passes("20s")
    (found,) = [
        one for one in rig.client.get("/api/v1/storms").json["storms"] if "channel" in one["target_key"]
    ]
    return f"/storms/{found['id']}"


def test_the_page_lists_a_hundred_members_at_a_time(rig: Rig) -> None:
    storm_path = start_storm(rig, 130)
    response = rig.client.get(storm_path)
    page = response.text
    assert page.count('<li class="card') == 100
    assert "Storm of #alerts-critical" in page
    assert f"{storm_path}?page=2" in [resolve(response, link) for link in list_links(response)]
    assert rig.client.get(f"{storm_path}?page=2").text.count('<li class="card') > 20


def test_all_members_are_acknowledged_at_once(rig: Rig) -> None:
    storm_path = start_storm(rig, 40)
    response = rig.submits(f"{storm_path}/acknowledge", auth=("carol", "x"))
    assert (response.status_code, leads_to(response)) == (303, storm_path)
    rig.passes("1m")
    page = rig.client.get(storm_path).text
    assert ": 0 open," in page
    assert "Last acknowledged by carol" in page
    assert "Acknowledge all" not in page


def test_a_foreign_page_can_not_acknowledge_a_storm(rig: Rig) -> None:
    storm_path = start_storm(rig, 40)
    assert rig.client.post(f"{storm_path}/acknowledge").status_code == 403
