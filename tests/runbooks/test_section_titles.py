"""What a section's title means, in several languages, in a team's own words, and at which place."""

from __future__ import annotations

import pytest

from receiver.runbooks.excerpt import cut_excerpt
from receiver.runbooks.model import Excerpt, render_plain
from receiver.runbooks.parser import parse_runbooks
from receiver.runbooks.section_titles import (
    BUILT_IN_TITLES,
    DIAGNOSIS,
    ESCALATION,
    IMPACT,
    LATER,
    RESOLUTION,
    SYMPTOM,
    SectionTitles,
    build_section_titles,
)


def excerpt(text: str, titles: SectionTitles = BUILT_IN_TITLES, limit: int = 2500) -> Excerpt:
    (runbook,) = parse_runbooks(f"# PodRestarts\n\n{text}", "PodRestarts.md", titles)
    return cut_excerpt(runbook, limit)


LANGUAGES = {
    "simplified Chinese": ("含义", "影响", "诊断", "缓解", "升级处理", "长期方案"),
    "traditional Chinese": ("含義", "影響", "診斷", "處理步驟", "問題升級", "預防措施"),
    "Japanese": ("アラートの概要", "影響範囲", "切り分け", "対応手順", "エスカレーション先", "再発防止"),
    "Korean": ("증상", "영향", "진단", "조치 방법", "에스컬레이션", "재발 방지"),
    "German": ("Bedeutung", "Auswirkungen", "Fehlersuche", "Maßnahmen", "Eskalation", "Vorbeugung"),
    "French": ("Symptômes", "Conséquences", "Investigation", "Résolution", "Escalade", "Prévention"),
    "Spanish": ("Descripción", "Impacto", "Diagnóstico", "Solución", "Escalamiento", "A largo plazo"),
    "Portuguese": ("Descrição", "Consequências", "Análise", "Mitigação", "Escalonamento", "Referências"),
    "Russian": ("Симптомы", "Влияние", "Диагностика", "Что делать?", "Эскалация", "Профилактика"),
}
KINDS = (SYMPTOM, IMPACT, DIAGNOSIS, RESOLUTION, ESCALATION, LATER)


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_are_known_in_each_language(language: str) -> None:
    assert [BUILT_IN_TITLES.find_kind(title) for title in LANGUAGES[language]] == list(KINDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_diagnosis_does_not_displace_the_resolution_in_any_language(language: str) -> None:
    _, _, diagnosis, resolution, _, later = LANGUAGES[language]
    steps = "\n".join(f"- {number}: {'x' * 190}" for number in range(24))
    shown = render_plain(
        excerpt(
            f"## {later}\n\nquotas\n\n## {diagnosis}\n\n{steps}\n\n## {resolution}\n\n1. `undo it`\n2. scale"
        )
    )
    assert "`undo it`" in shown
    assert "- 0: x" in shown
    assert BUILT_IN_TITLES.find_shown(diagnosis) in shown
    assert "quotas" not in shown


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("2. Diagnosis", DIAGNOSIS),
        ("Step 2: Diagnose", DIAGNOSIS),
        ("三、处理步骤", RESOLUTION),
        ("🔧 How to fix it?", RESOLUTION),
        ("诊断 / Diagnosis", DIAGNOSIS),
        ("Diagnosis and mitigation", RESOLUTION),
        ("Root cause and resolution", RESOLUTION),
        ("Mitigation (long-term)", LATER),
        ("Permanent fix for the leak", LATER),
        ("Langfristige Lösung", LATER),
        ("Restarting a replica", RESOLUTION),
        ("Follow-up tasks", LATER),
        ("（一）影响范围", IMPACT),
        ("第一步 检查", DIAGNOSIS),
        ("原因と対策", RESOLUTION),
        ("Überprüfung", DIAGNOSIS),
        ("Actions à mener", RESOLUTION),
        ("Acciones correctivas", RESOLUTION),
        ("Causa raíz", DIAGNOSIS),
        ("Дополнительные материалы", LATER),
        ("관련 문서", LATER),
        ("Who to contact", ESCALATION),
        ("Lessons learned", LATER),
        ("Grafana", ""),
        ("", ""),
    ],
)
def test_titles_that_are_no_single_word_are_guessed(title: str, kind: str) -> None:
    assert BUILT_IN_TITLES.guess_kind(title) == kind


def test_a_guessed_title_makes_no_alert() -> None:
    assert parse_runbooks("# Kubernetes\n\n## Restarting a pod\n\nx", "kubernetes.md") == ()
    assert parse_runbooks("# GitLab\n\n## Overview\n\nx\n\n## Procedure\n\nx", "README.md") == ()


def test_a_teams_own_titles_come_before_the_built_in_ones() -> None:
    titles = build_section_titles({RESOLUTION: ["Erste Hilfe"], LATER: ["Solution"]})
    shown = excerpt("## Solution\n\nredesign\n\n**Erste Hilfe**: `restart`", titles)
    assert [(section.title, section.kind) for section in shown.sections] == [("Erste Hilfe", RESOLUTION)]


def test_what_can_wait_comes_last_inside_the_resolution_too() -> None:
    later = "### Long-term\n\n" + "\n".join(f"- redesign {number} {'x' * 100}" for number in range(15))
    shown = render_plain(
        excerpt(
            f"## Diagnosis\n\n1. `look`\n\n## Resolution\n\n{later}\n\n### Now\n\n1. `undo`\n\n**Prevention**:\n\nquotas"
            "\n\n## Escalation\n\nthe storage team",
            limit=1000,
        )
    )
    assert shown.index("look") < shown.index("undo") < shown.index("Long-term")
    assert "the storage team" in shown
    assert "redesign 14" not in shown


def test_the_first_step_of_the_diagnosis_comes_before_what_can_wait() -> None:
    shown = render_plain(
        excerpt(
            f"## Resolution\n\n1. `undo`\n\n### Background\n\n{'x' * 300}\n\n## Diagnosis\n\n1. {'look ' * 45}",
            limit=500,
        )
    )
    assert "look" in shown
    assert "undo" in shown
    assert "xxx" not in shown


def test_without_known_titles_every_section_gets_its_share() -> None:
    text = "\n\n".join(f"## Part {name}\n\n" + f"- {name} {'x' * 96}\n" * 20 for name in "ABC")
    shown = excerpt(text + "\n\n## References\n\nlinks", limit=1500)
    assert [section.title for section in shown.sections] == ["Part A", "Part B", "Part C"]
    assert min(len(section.parts) for section in shown.sections) >= 3


def test_an_unknown_section_is_shown_where_no_known_one_says_what_to_do() -> None:
    shown = render_plain(excerpt(f"## Impact\n\n{'bad ' * 200}\n\n## Broker\n\nRun `bounce`."))
    assert "bounce" in shown


def test_a_section_inside_another_keeps_its_kind_and_generic_words_stay() -> None:
    shown = excerpt(
        "## Troubleshooting\n\n### Steps\n\nlook\n\n### Mitigation\n\nundo\n\n### Pods\n\nlook again"
    )
    assert [(section.kind, [part.text for part in section.parts]) for section in shown.sections] == [
        (DIAGNOSIS, ["**Steps**", "look", "**Pods**", "look again"]),
        (RESOLUTION, ["undo"]),
    ]


def test_two_titles_of_one_kind_are_told_apart() -> None:
    (section,) = excerpt("## Restarting a pod\n\n`a`\n\n## Restoring a backup\n\n`b`").sections
    assert section.title == "Restarting a pod"
    assert [part.text for part in section.parts] == ["`a`", "**Restoring a backup**", "`b`"]


def test_a_line_that_introduces_what_follows_may_begin_a_section() -> None:
    shown = excerpt(
        "It waits.\n\nHow it **works**:\n\n- a\n\nHow to **investigate**:\n\n- b\n\nSteps:\n\n- c"
    )
    assert [(section.kind, [part.text for part in section.parts]) for section in shown.sections] == [
        ("", ["It waits."]),
        (DIAGNOSIS, ["b", "Steps:", "c"]),
    ]


def test_labels_in_corner_brackets_begin_sections() -> None:
    shown = excerpt("【影響】書き込み不可\n\n【対応】\n\n1. `undo`")
    assert [(section.title, section.kind) for section in shown.sections] == [
        ("影響", IMPACT),
        ("対応", RESOLUTION),
    ]
