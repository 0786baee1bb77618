"""The shelf: runbooks by name, fresh from disk."""

import os
import threading
from pathlib import Path

import pytest

from receiver.domain.alert import Alert
from receiver.runbooks.disk import MAX_FILE_BYTES
from receiver.runbooks.load import RunbookShelf


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def an_alert(name: str = "DiskFull", **annotations: str) -> Alert:
    return Alert("f" * 16, {"alertname": name}, annotations, 0.0)


def write(path: Path, name: str = "DiskFull", words: str = "no room") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"## {name} (Critical)\n\n**Symptom**: {words}\n", encoding="utf-8")
    return path


def said(shelf: RunbookShelf, name: str = "DiskFull") -> str:
    excerpt = shelf.find_excerpt(an_alert(name))
    return excerpt.sections[0].parts[0].text if excerpt and excerpt.sections else ""


def test_files_and_folders_are_read_and_names_sorted(tmp_path):
    write(tmp_path / "all" / "deep" / "b.md", "DiskSlow")
    write(tmp_path / "all" / "a.MARKDOWN", "DiskFull")
    write(tmp_path / "all" / "notes.txt", "NotMarkdown")
    shelf = RunbookShelf([tmp_path / "all", write(tmp_path / "one.txt", "CpuBusy")])
    assert shelf.names() == ["CpuBusy", "DiskFull", "DiskSlow"]
    assert [runbook.name for runbook in shelf.all()] == shelf.names()
    assert shelf.problems == ()


def test_a_name_is_found_exactly_or_else_in_any_case(tmp_path):
    write(tmp_path / "a.md", "diskFull", "lower")
    write(tmp_path / "b.md", "DiskFull", "upper")
    shelf = RunbookShelf([tmp_path])
    assert (said(shelf, "diskFull"), said(shelf, "DiskFull"), said(shelf, "DISKFULL")) == (
        "lower",
        "upper",
        "lower",
    )
    assert shelf.find("DiskFul") is None


def test_a_path_that_is_not_there_is_a_problem_and_no_crash(tmp_path):
    shelf = RunbookShelf([tmp_path / "gone", write(tmp_path / "a.md")])
    (problem,) = shelf.problems
    assert (problem.file, problem.line) == (str(tmp_path / "gone"), 1)
    assert shelf.names() == ["DiskFull"]


def test_a_second_runbook_for_an_alert_is_told_and_the_first_is_used(tmp_path):
    write(tmp_path / "a.md", words="first")
    write(tmp_path / "b.md", words="second")
    shelf = RunbookShelf([tmp_path])
    assert said(shelf) == "first"
    (warning,) = shelf.warnings
    assert (warning.file, warning.line) == (str(tmp_path / "b.md"), 1)


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    (tmp_path / "a.md").write_bytes(b"## DiskFull (Critical)\n\n**Symptom**: fu\xff\xfell\n")
    assert said(RunbookShelf([tmp_path])) == "fu\ufffd\ufffdll"


def test_a_file_that_is_too_large_is_a_problem(tmp_path):
    (tmp_path / "a.md").write_text("## DiskFull (Critical)\n" + "x" * MAX_FILE_BYTES)
    shelf = RunbookShelf([tmp_path])
    assert shelf.names() == []
    assert "too many" in shelf.problems[0].what


def test_no_more_files_are_read_than_anybody_needs(tmp_path, monkeypatch):
    monkeypatch.setattr("receiver.runbooks.disk.MAX_FILES", 2)
    for name in ("ADown", "BDown", "CDown"):
        write(tmp_path / f"{name}.md", name)
    shelf = RunbookShelf([tmp_path])
    assert shelf.names() == ["ADown", "BDown"]
    assert "more than 2" in shelf.problems[0].what


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    write(tmp_path / "secret" / "a.md", "Secret")
    write(tmp_path / "books" / "b.md", "DiskFull")
    (tmp_path / "books" / "link.md").symlink_to(tmp_path / "secret" / "a.md")
    (tmp_path / "books" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "books" / "nowhere.md").symlink_to(tmp_path / "gone.md")
    (tmp_path / "books" / "self.md").symlink_to("self.md")
    assert RunbookShelf([tmp_path / "books"]).names() == ["DiskFull"]


def test_a_folder_mounted_by_kubernetes_is_read_once(tmp_path):
    write(tmp_path / "..2026_11_23" / "a.md")
    (tmp_path / "..data").symlink_to("..2026_11_23")
    (tmp_path / "a.md").symlink_to("..data/a.md")
    shelf = RunbookShelf([tmp_path])
    assert (shelf.names(), shelf.warnings, shelf.problems) == (["DiskFull"], (), ())


def test_a_pipe_is_no_runbook(tmp_path):
    os.mkfifo(tmp_path / "a.md")
    assert RunbookShelf([tmp_path, tmp_path / "a.md"]).names() == []


def test_a_change_shows_after_two_seconds(tmp_path, clock):
    path = write(tmp_path / "a.md", words="old words")
    shelf = RunbookShelf([tmp_path], clock=clock)
    write(path, words="new")
    clock.now += 1.9
    assert said(shelf) == "old words"
    clock.now += 0.1
    assert said(shelf) == "new"


def test_a_file_of_the_same_length_and_time_is_still_a_change(tmp_path, clock):
    path = write(tmp_path / "a.md", words="old")
    before = path.stat()
    shelf = RunbookShelf([tmp_path], clock=clock)
    write(tmp_path / "new", words="new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 2
    assert said(shelf) == "new"


def test_added_and_removed_files_show_too(tmp_path, clock):
    path = write(tmp_path / "a.md")
    shelf = RunbookShelf([tmp_path], clock=clock)
    write(tmp_path / "b" / "c.md", "DiskSlow")
    clock.now += 2
    assert shelf.names() == ["DiskFull", "DiskSlow"]
    path.unlink()
    clock.now += 2
    assert shelf.names() == ["DiskSlow"]


def test_a_folder_that_appears_later_is_read_and_the_problem_is_gone(tmp_path, clock):
    shelf = RunbookShelf([tmp_path / "later"], clock=clock)
    assert shelf.problems
    write(tmp_path / "later" / "a.md")
    clock.now += 2
    assert (shelf.names(), shelf.problems) == (["DiskFull"], ())


def test_only_changed_files_are_parsed_again(tmp_path, clock):
    write(tmp_path / "a.md", "DiskFull")
    path = write(tmp_path / "b.md", "DiskSlow")
    shelf = RunbookShelf([tmp_path], clock=clock)
    full, slow = shelf.all()
    write(path, "DiskSlow", "new words")
    clock.now += 2
    assert shelf.find("DiskFull") is full
    assert shelf.find("DiskSlow") is not slow


def test_a_clock_set_back_does_not_stop_the_looking(tmp_path, clock):
    path = write(tmp_path / "a.md", words="old")
    shelf = RunbookShelf([tmp_path], clock=clock)
    write(path, words="new words")
    clock.now -= 3600
    assert said(shelf) == "new words"


def test_many_threads_may_ask_while_files_change(tmp_path, clock):
    path = write(tmp_path / "a.md", words="0")
    shelf = RunbookShelf([tmp_path], clock=clock)
    failures: list[str] = []

    def ask() -> None:
        for _ in range(200):
            clock.now += 1
            if not said(shelf).isdigit():
                failures.append(said(shelf))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        write(tmp_path / "new", words=str(number)).replace(path)
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_matrix_is_at_hand(tmp_path):
    (tmp_path / "p.md").write_text(
        "## Escalation Matrix\n\n| Severity | Time | Path |\n|-|-|-|\n| Info | soon | team |\n"
    )
    (row,) = RunbookShelf([tmp_path]).matrix_rows()
    assert (row.severity, row.path, row.file, row.line) == ("info", ("team",), str(tmp_path / "p.md"), 5)


LINK = "https://wiki.example.org/DiskFull"
PAGE = "https://alerts.example.org/runbooks/DiskFull"


@pytest.mark.parametrize(
    ("words", "annotations", "public_url", "url"),
    [
        ("short", {}, "", ""),
        ("short", {}, "https://alerts.example.org/", PAGE),
        ("short", {"runbook_url": LINK}, "", LINK),
        ("short", {"runbook": LINK}, "https://alerts.example.org", LINK),
        ("long " * 1000, {"runbook_url": LINK}, "https://alerts.example.org", PAGE),
        ("long " * 1000, {"runbook_url": LINK}, "", LINK),
        ("short", {"runbook_url": "javascript:alert(1)"}, "", ""),
    ],
)
def test_the_link_leads_to_the_rest_or_to_what_the_alert_names(tmp_path, words, annotations, public_url, url):
    write(tmp_path / "a.md", words=words)
    excerpt = RunbookShelf([tmp_path], public_url).find_excerpt(an_alert(**annotations))
    assert excerpt is not None
    assert (excerpt.url, excerpt.is_cut) == (url, len(words) > 1000)


def test_an_alert_without_a_runbook_has_its_link_at_least(tmp_path):
    shelf = RunbookShelf([tmp_path], "https://alerts.example.org")
    excerpt = shelf.find_excerpt(an_alert(runbook_url=LINK))
    assert excerpt is not None
    assert (excerpt.name, excerpt.sections, excerpt.url) == ("DiskFull", (), LINK)
    assert shelf.find_excerpt(an_alert()) is None
    assert shelf.find_excerpt(an_alert(runbook="see the wiki")) is None
    assert shelf.find_excerpt(Alert("f" * 16, {}, {}, 0.0)) is None


@pytest.mark.parametrize("named", ["DiskSlow", "runbooks/DiskSlow.md", " diskslow "])
def test_an_annotation_may_name_another_runbook_of_the_shelf(tmp_path, named):
    write(tmp_path / "a.md", "DiskFull")
    write(tmp_path / "b.md", "DiskSlow")
    excerpt = RunbookShelf([tmp_path]).find_excerpt(an_alert(runbook=named))
    assert excerpt is not None
    assert excerpt.name == "DiskSlow"


def test_an_excerpt_keeps_to_the_limit(tmp_path):
    (tmp_path / "a.md").write_text("## DiskFull (Critical)\n\n**Symptom**:\n" + "- step by step\n" * 1000)
    excerpt = RunbookShelf([tmp_path], limit=300).find_excerpt(an_alert())
    assert excerpt is not None
    assert 100 < sum(len(part.text) for part in excerpt.sections[0].parts) < 300


@pytest.mark.parametrize(
    "name",
    [
        "../secret/Secret",
        "../secret/Secret.md",
        "..",
        "secret/Secret.md",
        "{}/secret/Secret.md",
        "file://{}/secret/Secret.md",
        "\0",
        "a" * 5000,
    ],
)
def test_no_name_is_a_path_to_a_file(tmp_path: Path, name: str) -> None:
    """Neither an alert's name, nor its annotation, nor the end of a page's address."""
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.md").write_text("## DiskFull (Critical)\n\n**Symptom**: ours\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "Secret.md").write_text("# Secret\n\n## Meaning\n\nhidden\n")
    shelf, name = RunbookShelf([tmp_path / "books"]), name.format(tmp_path)
    assert shelf.find(name) is None
    for labels, annotations in (({"alertname": name}, {}), ({"alertname": "A"}, {"runbook": name})):
        excerpt = shelf.find_excerpt(Alert("f" * 16, labels, annotations, 0.0))
        assert excerpt is None or not excerpt.sections
