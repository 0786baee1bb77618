"""The runbook catalogue: runbooks by name, reloaded from disk when they change."""

import os
import threading
from pathlib import Path

import pytest

from receiver.model.alert import Alert
from receiver.runbooks.catalogue import MAX_FILE_BYTES, RunbookCatalogue
from receiver.runbooks.excerpt import EXCERPT_LIMIT
from receiver.runbooks.model import Excerpt
from tests.support.catalogues import a_catalogue


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


def write(path: Path, name: str = "DiskFull", text: str = "no room") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"## {name} (Critical)\n\n**Symptom**: {text}\n", encoding="utf-8")
    return path


def get_text(catalogue: RunbookCatalogue, name: str = "DiskFull") -> str:
    excerpt = catalogue.find_excerpt(an_alert(name))
    return excerpt.sections[0].parts[0].text if excerpt and excerpt.sections else ""


def test_files_and_folders_are_loaded_and_names_sorted(tmp_path):
    write(tmp_path / "all" / "deep" / "b.md", "DiskSlow")
    write(tmp_path / "all" / "a.MARKDOWN", "DiskFull")
    write(tmp_path / "all" / "c.mdx", "DiskGone")
    write(tmp_path / "all" / "notes.txt", "NotMarkdown")
    catalogue = a_catalogue([tmp_path / "all", write(tmp_path / "one.txt", "CpuBusy")])
    assert catalogue.list_names() == ["CpuBusy", "DiskFull", "DiskGone", "DiskSlow"]
    assert [runbook.name for runbook in catalogue.list_runbooks()] == catalogue.list_names()
    assert catalogue.problems == ()


def test_a_name_is_found_exactly_or_otherwise_case_insensitively(tmp_path):
    write(tmp_path / "a.md", "diskFull", "lower")
    write(tmp_path / "b.md", "DiskFull", "upper")
    catalogue = a_catalogue([tmp_path])
    assert (
        get_text(catalogue, "diskFull"),
        get_text(catalogue, "DiskFull"),
        get_text(catalogue, "DISKFULL"),
    ) == (
        "lower",
        "upper",
        "lower",
    )
    assert catalogue.find_runbook("DiskFul") is None


def test_a_missing_path_is_a_problem_and_no_crash(tmp_path):
    catalogue = a_catalogue([tmp_path / "gone", write(tmp_path / "a.md")])
    (problem,) = catalogue.problems
    assert (problem.file, problem.line) == (str(tmp_path / "gone"), 1)
    assert catalogue.list_names() == ["DiskFull"]


def test_a_second_runbook_for_an_alert_is_reported_and_the_first_is_used(tmp_path):
    write(tmp_path / "a.md", text="first")
    write(tmp_path / "b.md", text="second")
    catalogue = a_catalogue([tmp_path])
    assert get_text(catalogue) == "first"
    (warning,) = catalogue.warnings
    assert (warning.file, warning.line) == (str(tmp_path / "b.md"), 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_file_is_read_in_the_encodings_of_windows(tmp_path, encoding):
    text = "# TürÖffnet\r\n\r\n**Symptom**: “schließt” für 5 €\r\n"
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "a.md").write_bytes((mark + text).encode(encoding))
    catalogue = a_catalogue([tmp_path])
    assert get_text(catalogue, "TürÖffnet") == "“schließt” für 5 €"
    said = [(problem.what, problem.expected) for problem in catalogue.warnings]
    is_unsure = encoding == "cp1252"
    assert said == [("it is not UTF-8; some letters may be wrong", "a file in UTF-8")] * is_unsure


def test_a_byte_that_is_no_utf8_spoils_no_letter_beside_it(tmp_path):
    (tmp_path / "a.md").write_bytes("## DiskFull\n\n**Symptom**: für 5 €".encode() + b"\xff\n")
    catalogue = a_catalogue([tmp_path])
    assert get_text(catalogue) == "für 5 €\ufffd"
    assert len(catalogue.warnings) == 1


def test_a_file_that_is_no_utf8_causes_no_error(tmp_path):
    # Windows-1252 has no such bytes either.
    (tmp_path / "a.md").write_bytes(b"## DiskFull (Critical)\n\n**Symptom**: fu\x81\x8dll\n")
    assert get_text(a_catalogue([tmp_path])) == "fu\ufffd\ufffdll"


def test_a_file_that_is_too_large_is_a_problem(tmp_path):
    (tmp_path / "a.md").write_text("## DiskFull (Critical)\n" + "x" * MAX_FILE_BYTES)
    catalogue = a_catalogue([tmp_path])
    assert catalogue.list_names() == []
    assert "too many" in catalogue.problems[0].what


def test_the_number_of_loaded_files_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("receiver.runbooks.catalogue.MAX_FILES", 2)
    for name in ("ADown", "BDown", "CDown"):
        write(tmp_path / f"{name}.md", name)
    catalogue = a_catalogue([tmp_path])
    assert catalogue.list_names() == ["ADown", "BDown"]
    assert "more than 2" in catalogue.problems[0].what


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    write(tmp_path / "secret" / "a.md", "Secret")
    write(tmp_path / "books" / "b.md", "DiskFull")
    (tmp_path / "books" / "link.md").symlink_to(tmp_path / "secret" / "a.md")
    (tmp_path / "books" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "books" / "nowhere.md").symlink_to(tmp_path / "gone.md")
    (tmp_path / "books" / "self.md").symlink_to("self.md")
    assert a_catalogue([tmp_path / "books"]).list_names() == ["DiskFull"]


def test_a_folder_mounted_by_kubernetes_is_loaded_once(tmp_path):
    write(tmp_path / "..2026_11_23" / "a.md")
    (tmp_path / "..data").symlink_to("..2026_11_23")
    (tmp_path / "a.md").symlink_to("..data/a.md")
    catalogue = a_catalogue([tmp_path])
    assert (catalogue.list_names(), catalogue.warnings, catalogue.problems) == (["DiskFull"], (), ())


def test_a_named_pipe_is_no_runbook(tmp_path):
    os.mkfifo(tmp_path / "a.md")
    assert a_catalogue([tmp_path, tmp_path / "a.md"]).list_names() == []


def test_a_change_is_loaded_after_two_seconds(tmp_path, clock):
    path = write(tmp_path / "a.md", text="old words")
    catalogue = a_catalogue([tmp_path], clock=clock)
    write(path, text="new")
    clock.now += 1.9
    assert get_text(catalogue) == "old words"
    clock.now += 0.1
    assert get_text(catalogue) == "new"


def test_a_replaced_file_of_the_same_length_and_time_is_loaded(tmp_path, clock):
    path = write(tmp_path / "a.md", text="old")
    before = path.stat()
    catalogue = a_catalogue([tmp_path], clock=clock)
    write(tmp_path / "new", text="new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 2
    assert get_text(catalogue) == "new"


def test_added_and_removed_files_are_noticed(tmp_path, clock):
    path = write(tmp_path / "a.md")
    catalogue = a_catalogue([tmp_path], clock=clock)
    write(tmp_path / "b" / "c.md", "DiskSlow")
    clock.now += 2
    assert catalogue.list_names() == ["DiskFull", "DiskSlow"]
    path.unlink()
    clock.now += 2
    assert catalogue.list_names() == ["DiskSlow"]


def test_a_folder_that_appears_later_is_loaded_and_its_problem_removed(tmp_path, clock):
    catalogue = a_catalogue([tmp_path / "later"], clock=clock)
    assert catalogue.problems
    write(tmp_path / "later" / "a.md")
    clock.now += 2
    assert (catalogue.list_names(), catalogue.problems) == (["DiskFull"], ())


def test_only_changed_files_are_parsed_again(tmp_path, clock):
    write(tmp_path / "a.md", "DiskFull")
    path = write(tmp_path / "b.md", "DiskSlow")
    catalogue = a_catalogue([tmp_path], clock=clock)
    full, slow = catalogue.list_runbooks()
    write(path, "DiskSlow", "new words")
    clock.now += 2
    assert catalogue.find_runbook("DiskFull") is full
    assert catalogue.find_runbook("DiskSlow") is not slow


def test_a_clock_that_is_set_back_does_not_stop_the_reloads(tmp_path, clock):
    path = write(tmp_path / "a.md", text="old")
    catalogue = a_catalogue([tmp_path], clock=clock)
    write(path, text="new words")
    clock.now -= 3600
    assert get_text(catalogue) == "new words"


def test_many_threads_may_read_while_files_change(tmp_path, clock):
    path = write(tmp_path / "a.md", text="0")
    catalogue = a_catalogue([tmp_path], clock=clock)
    failures: list[str] = []

    def ask() -> None:
        for _ in range(200):
            clock.now += 1
            if not get_text(catalogue).isdigit():
                failures.append(get_text(catalogue))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        write(tmp_path / "new", text=str(number)).replace(path)
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_matrix_is_loaded(tmp_path):
    (tmp_path / "p.md").write_text(
        "## Escalation Matrix\n\n| Severity | Time | Path |\n|-|-|-|\n| Info | soon | team |\n"
    )
    (row,) = a_catalogue([tmp_path]).list_matrix_rows()
    assert (row.severity, row.path, row.file, row.line) == ("info", ("team",), str(tmp_path / "p.md"), 5)


LINK = "https://wiki.example.org/DiskFull"
PAGE = "https://alerts.example.org/runbooks/DiskFull"


@pytest.mark.parametrize(
    ("text", "annotations", "public_url", "url"),
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
def test_the_link_leads_to_the_whole_runbook_or_to_the_annotations_url(
    tmp_path, text, annotations, public_url, url
):
    write(tmp_path / "a.md", text=text)
    excerpt = a_catalogue([tmp_path], public_url).find_excerpt(an_alert(**annotations))
    assert excerpt is not None
    assert (excerpt.url, excerpt.is_cut) == (url, len(text) > 1000)


def test_an_alert_without_a_runbook_has_the_annotations_link(tmp_path):
    catalogue = a_catalogue([tmp_path], "https://alerts.example.org")
    excerpt = catalogue.find_excerpt(an_alert(runbook_url=LINK))
    assert excerpt is not None
    assert (excerpt.name, excerpt.sections, excerpt.url) == ("DiskFull", (), LINK)
    assert catalogue.find_excerpt(an_alert()) is None
    assert catalogue.find_excerpt(an_alert(runbook="see the wiki")) == Excerpt(
        "DiskFull", words="see the wiki"
    )
    assert catalogue.find_excerpt(Alert("f" * 16, {}, {}, 0.0)) is None


@pytest.mark.parametrize("named", ["DiskSlow", "runbooks/DiskSlow.md", " diskslow "])
def test_an_annotation_may_name_another_runbook_of_the_catalogue(tmp_path, named):
    write(tmp_path / "a.md", "DiskFull")
    write(tmp_path / "b.md", "DiskSlow")
    excerpt = a_catalogue([tmp_path]).find_excerpt(an_alert(runbook=named))
    assert excerpt is not None
    assert excerpt.name == "DiskSlow"


def test_an_excerpt_does_not_exceed_the_limit(tmp_path):
    (tmp_path / "a.md").write_text("## DiskFull (Critical)\n\n**Symptom**:\n" + "- step by step\n" * 1000)
    excerpt = a_catalogue([tmp_path]).find_excerpt(an_alert())
    assert excerpt is not None
    assert 1800 < sum(len(part.text) for part in excerpt.sections[0].parts) < EXCERPT_LIMIT


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
def test_no_name_is_used_as_a_file_path(tmp_path: Path, name: str) -> None:
    """Neither an alert's name, nor its annotation, nor the end of a page's URL."""
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.md").write_text("## DiskFull (Critical)\n\n**Symptom**: ours\n")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "Secret.md").write_text("# Secret\n\n## Meaning\n\nhidden\n")
    catalogue, name = a_catalogue([tmp_path / "books"]), name.format(tmp_path)
    assert catalogue.find_runbook(name) is None
    for labels, annotations in (({"alertname": name}, {}), ({"alertname": "Other"}, {"runbook": name})):
        excerpt = catalogue.find_excerpt(Alert("f" * 16, labels, annotations, 0.0))
        assert excerpt is None or not excerpt.sections
