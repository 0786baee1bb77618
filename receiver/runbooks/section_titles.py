"""What the title of a section means: its kind, by the words of nine languages and a team's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from unicodedata import category, normalize

SYMPTOM = "Symptom"
IMPACT = "Impact"
DIAGNOSIS = "Diagnosis"
RESOLUTION = "Resolution"
ESCALATION = "Escalation"
# In reading order.
CANONICAL = (SYMPTOM, IMPACT, DIAGNOSIS, RESOLUTION, ESCALATION)
# What nobody needs tonight: prevention, background, references. It is shown last.
LATER = "Later"
# Longer titles are sentences; only their beginning is compared.
MAX_TITLE_CHARS = 200

_NUMBERING = re.compile(
    r"^(?:[\W_]*(?:(?:step|schritt|etape|paso|passo|шаг)\s*)?\d+[\W_]+"
    r"|\(?[一二三四五六七八九十]+[、.．)]\s*|第[\d一二三四五六七八九十]+[步章节節]\W*)+"
)
_CIRCLED = re.compile("[\u2460-\u24ff\u2776-\u2793]")


@lru_cache(maxsize=4096)
def normalize_title(title: str) -> str:
    """Return *title* without case, accents, numbering and punctuation: `2. Résolution :` is `resolution`."""
    folded = _NUMBERING.sub("", _fold(title[:MAX_TITLE_CHARS]))
    return " ".join(re.findall(r"[^\W_]+", folded))


def _fold(text: str) -> str:
    decomposed = normalize("NFKD", _CIRCLED.sub(" ", text).casefold())
    return normalize("NFC", "".join(mark for mark in decomposed if category(mark) != "Mn"))


def _split_titles(titles: str) -> list[str]:
    return [normalize_title(title) for title in titles.split(",")]


_ENGLISH = {
    SYMPTOM: """
        symptom, symptoms, meaning, description, alert description, alert meaning, overview, summary,
        what does this alert mean, what this alert means, what is this alert, about this alert, about,
        trigger""",
    IMPACT: """
        impact, impacts, user impact, customer impact, business impact, service impact, potential impact""",
    DIAGNOSIS: """
        diagnosis, diagnostics, diagnose, diagnostic steps, diagnosis steps, investigation,
        investigation steps, investigate, troubleshooting, troubleshoot, troubleshooting steps, checks,
        possible checks, triage, initial triage, debugging, how to investigate, how to diagnose,
        how to debug, possible causes, likely causes, common causes, potential causes, quick checks,
        first checks""",
    RESOLUTION: """
        resolution, resolution steps, mitigation, mitigations, mitigation steps, remediation,
        remediation steps, solution, solutions, fix, fixes, how to fix, how to fix it, how to resolve,
        how to mitigate, what to do, what should i do, what do i do, steps, actions, action,
        possible actions, required action, required actions, immediate action, immediate actions,
        recommended actions, response, response steps, recovery, recovery steps, procedure, workaround,
        workarounds, first aid, how to respond, quick fix, short term, short term fix, steps to resolve,
        steps to mitigate, corrective action, corrective actions, next steps, handling, rollback""",
    ESCALATION: """
        escalation, escalate, escalation path, when to escalate, escalations, escalation procedure""",
}
# Other languages; accents and letter case do not matter.
_FOREIGN = {
    SYMPTOM: """
        含义, 含義, 症状, 症狀, 现象, 現象, 故障现象, 故障現象, 描述, 说明, 說明, 告警说明, 告警說明,
        告警描述, 告警含义, 告警含義, 报警说明, 警报说明, 警報說明, 問題現象, 问题现象, 问题描述, 問題描述,
        概述, 概要, 简介, 簡介, 意义, 意義, 意味, アラートの意味, アラート概要, アラートの概要,
        アラート内容, 事象, 説明, 의미, 증상, 설명, 개요, 알림 설명, 경보 설명, 현상, symptome, symptom,
        bedeutung, beschreibung, fehlerbild, uberblick, was bedeutet der alarm, symptomes, signification,
        description, resume, apercu, que signifie cette alerte, sintoma, sintomas, significado, descripcion,
        resumen, descricao, resumo, visao geral, симптом, симптомы, значение, описание, обзор,
        что это значит, sintomo, sintomi, significato, descrizione""",
    IMPACT: """
        影响, 影響, 影响范围, 影響範圍, 影響範囲, 业务影响, 業務影響, 用户影响, 用戶影響, 使用者影響, 危害,
        ユーザーへの影響, ユーザ影響, 영향, 영향도, 영향 범위, 사용자 영향, auswirkung, auswirkungen,
        folgen, impact, impacts, consequences, impacto, impactos, consecuencias, consequencias, влияние,
        последствия, воздействие, impatto""",
    DIAGNOSIS: """
        诊断, 診斷, 诊断步骤, 診斷步驟, 排查, 排查步骤, 排查步驟, 排查方法, 排查思路, 故障排查, 故障诊断,
        故障診斷, 问题排查, 問題排查, 排障, 故障排除, 疑難排解, 检查, 檢查, 分析, 原因分析, 可能原因,
        可能的原因, 定位, 调查, 調查, 調査, 診断, 切り分け, 原因調査, 調査手順, 診断手順, 確認, 確認手順,
        確認方法, 確認事項, トラブルシューティング, 想定される原因, 진단, 진단 방법, 진단 절차, 조사, 분석,
        원인 분석, 점검, 확인, 확인 사항, 확인 방법, 문제 진단, 문제 해결 단계, 트러블슈팅, 가능한 원인,
        diagnose, analyse, fehlersuche, fehleranalyse, untersuchung, ursachen, mogliche ursachen, prufung,
        prufschritte, prufen, eingrenzung, diagnoseschritte, storungssuche, diagnostic, diagnostics,
        investigation, causes possibles, depannage, diagnostico, analisis, investigacion, causas posibles,
        posibles causas, comprobaciones, analise, investigacao, causas possiveis, possiveis causas,
        диагностика, анализ, расследование, проверка, проверки, возможные причины, поиск причины,
        поиск причин, diagnosi, analisi, indagine, possibili cause""",
    RESOLUTION: """
        缓解, 緩解, 缓解措施, 緩解措施, 缓解方法, 解决, 解決, 解决方案, 解決方案, 解决方法, 解決方法,
        解决办法, 解決辦法, 解决步骤, 解決步驟, 处理, 處理, 处理方法, 處理方法, 处理步骤, 處理步驟,
        处理方案, 处理流程, 處理流程, 处理措施, 处置, 處置, 处置步骤, 应急处理, 應急處理, 应急措施,
        應急措施, 修复, 修復, 修复步骤, 修復步驟, 修复方法, 恢复, 恢復, 恢复步骤, 恢復步驟, 操作步骤,
        操作步驟, 步骤, 步驟, 措施, 应对措施, 因應措施, 怎么办, 如何处理, 如何解决, 如何修复, 対応,
        対応手順, 対応方法, 対処, 対処法, 対処方法, 対処手順, 解決策, 解決手順, 緩和, 緩和策, 暫定対応,
        暫定対処, 一次対応, 復旧, 復旧手順, 復旧方法, 応急処置, 回避策, 手順, 修正, 修正方法, 해결,
        해결 방법, 해결방법, 해결책, 해결 절차, 조치, 조치 방법, 조치 사항, 조치사항, 조치 절차, 대응,
        대응 방법, 대응 절차, 완화, 완화 조치, 완화 방법, 복구, 복구 절차, 복구 방법, 처리, 처리 방법, 절차,
        단계, 수정, behebung, losung, loesung, losungen, losungsschritte, abhilfe, massnahme, massnahmen,
        sofortmassnahme, sofortmassnahmen, gegenmassnahmen, fehlerbehebung, problembehebung,
        storungsbehebung, entstorung, wiederherstellung, schritte, vorgehen, was tun, was ist zu tun,
        was zu tun ist, handlungsanweisung, minderung, linderung, reparatur, resolution, solution,
        solutions, remediation, attenuation, mitigation, correction, actions, action, actions immediates,
        mesures, que faire, marche a suivre, procedure, etapes, etapes de resolution, retablissement,
        contournement, depannage et resolution, reparation, resolucion, solucion, soluciones, mitigacion,
        remediacion, correccion, acciones, acciones inmediatas, que hacer, pasos, pasos a seguir,
        procedimiento, recuperacion, como resolver, como solucionar, reparacion, resolucao, solucao,
        solucoes, mitigacao, remediacao, correcao, acoes, acoes imediatas, o que fazer, passos,
        procedimento, recuperacao, como corrigir, contorno, medidas, решение, решения, устранение,
        устранение проблемы, устранение неполадок, исправление, действия, что делать, порядок действий,
        шаги, меры, смягчение, восстановление, как исправить, как решить, план действий, risoluzione,
        soluzione, mitigazione, rimedio, azioni, cosa fare, passi, procedura""",
    ESCALATION: """
        升级处理, 升級處理, 问题升级, 問題升級, 上报, 上報, 升级流程, 升級流程, 升级联系人,
        エスカレーション, エスカレーション先, エスカレーション手順, 連絡先, 에스컬레이션, 상위 보고, 보고,
        eskalation, eskalationspfad, escalade, escalada, escalado, escalamiento, escalacao, escalonamento,
        эскалация, кому звонить, escalation""",
}
_LATER = """
        prevention, preventive measures, preventative measures, prevent, avoidance, long term,
        long term fix, long term fixes, long term solution, long term actions, long term remediation,
        permanent fix, permanent solution, follow up, follow ups, follow up actions, followup,
        post incident, post mortem, postmortem, after the incident, afterwards, background,
        background information, context, history, changelog, revision history, reference, references,
        further reading, further information, more information, see also, additional resources, resources,
        links, useful links, related, related alerts, related runbooks, related links,
        related documentation, additional information, documentation, docs, notes for later, how it works,
        architecture,
        contributing, glossary, metadata, table of contents, contents, toc, examples of past incidents,
        root cause, threshold, thresholds, target, targets, severity, owner, owners, team, contact,
        contacts, dashboard, dashboards, previous incidents, past incidents, alert expression, alert rule,
        alert definition, false positives, 预防, 預防, 预防措施, 預防措施, 长期, 長期, 长期方案, 長期方案,
        长期措施, 長期措施, 长期解决方案, 后续, 後續, 后续工作, 後續工作, 后续跟进, 后续措施, 后续改进,
        复盘, 復盤, 事后复盘, 背景, 背景知识, 背景知識, 背景信息, 参考, 參考, 参考资料, 參考資料, 参考链接,
        参考文档, 相关链接, 相關連結, 相关文档, 延伸阅读, 附录, 附錄, 目录, 目錄, 予防, 予防策, 再発防止,
        再発防止策, 恒久対応, 恒久対策, 長期対応, 長期的な対応, 事後対応, フォローアップ, 振り返り,
        参考情報, 参考資料, 参考リンク, 関連リンク, 関連情報, 関連アラート, 目次, 예방, 예방 조치,
        예방 방법, 재발 방지, 장기, 장기 대책, 장기 조치, 후속 조치, 후속 작업, 사후 조치, 사후 분석, 회고,
        배경, 배경 지식, 참고, 참고 자료, 참고자료, 관련 링크, 관련 문서, 목차, vorbeugung, pravention,
        vermeidung, langfristig, langfristige massnahmen, langfristige losung, dauerhafte losung,
        nachbereitung, nacharbeiten, nachverfolgung, hintergrund, hintergrundinformationen, referenzen,
        verweise, weiterfuhrende links, weiterfuhrende informationen, weitere informationen, siehe auch,
        quellen, historie, inhaltsverzeichnis, inhalt, anhang, long terme, a long terme,
        solution a long terme, suivi, contexte, arriere plan, liens, liens utiles, voir aussi,
        pour aller plus loin, historique, sommaire, annexe, annexes, prevencion, largo plazo, a largo plazo,
        solucion a largo plazo, seguimiento, antecedentes, contexto, trasfondo, referencias, enlaces,
        enlaces utiles, vease tambien, ver tambien, historial, indice, prevencao, longo prazo,
        a longo prazo, solucao de longo prazo, acompanhamento, links uteis, ligacoes, veja tambem,
        historico, sumario, профилактика, предотвращение, долгосрочно, долгосрочные меры,
        долгосрочное решение, последующие действия, дальнейшие действия, разбор, постмортем, предыстория,
        контекст, справка, справочная информация, ссылки, полезные ссылки, см также, смотри также,
        источники, дополнительная информация, история, содержание, приложение, prevenzione, lungo termine,
        a lungo termine, contesto, riferimenti, vedi anche, collegamenti"""
# Words anywhere in a title that no table has: `Restoring a replica`. In order of precedence; they never make
# a heading an alert.
_HINTS = (
    (
        LATER,
        r"""\b(?:follow[ -]?ups?|prevent\w*|post[ -]?mortems?|references?|background|further\ reading
        |see\ also|related|glossary|lessons?\ learned|future|vorbeug\w*
        |weiterfuhr\w*|preven[cz]\w*|plus\ d'info\w*
        |предотвра\w*|профилакт\w*|дополнител\w*)\b|预防|預防|予防|再発防止|后续|後續|复盘|復盤|背景|参考|參考
        |相关|相關|関連|事后|事後|예방|재발|후속|배경|참고|관련|사후""",
    ),
    (
        ESCALATION,
        r"""\b(?:e[sc][ck]al\w*|эскал\w*|who\ to\ (?:contact|call|page)|on-?call\ contacts?)\b
        |エスカレーション|에스컬레이션|上报|上報|联系人|聯絡人|連絡先|연락처""",
    ),
    (
        RESOLUTION,
        r"""\b(?:fix(?:es|ing)?|resolv\w+|resolution|mitigat\w+|remed\w+|recover\w*|restor\w+|restart\w*
        |workarounds?|roll(?:ing)?\ ?back|what\ to\ do|solutions?|solv\w+|repair\w*|behe[bv]\w*|losung\w*
        |\w{0,40}massnahme\w*|resolu[cç]?\w*|soluci\w*|soluca\w*|mitiga\w*|corre[ck]tiv\w*|corregir|corrigir|устран\w*|исправ\w*
        |восстанов\w*|решени\w*)\b|解决|解決|修复|修復|恢复|恢復|处理|處理|处置|處置|缓解|緩解|应急|應急|排除
        |復旧|対応|対処|対策|緩和|해결|조치|복구|완화|대응""",
    ),
    (
        DIAGNOSIS,
        r"""\b(?:diagnos\w*|investigat\w+|troubleshoot\w*|debug\w*|triag\w+|analy[sz]\w*|verify\w*
        |check(?:s|ing)?|causes?|failure\ modes?|fehlersuche|prufen|uberpruf\w*|ursachen?|causas?|comproba\w*
        |verificacio?n?|verificaco\w*|анализ\w*|диагност\w*|провер\w*|причин\w*)\b
        |诊断|診斷|診断|排查|排障|分析|检查|檢查|调查|調查|調査|切り分け|原因|確認|진단|점검|분석|원인|확인""",
    ),
    (IMPACT, r"\b(?:impact\w*|auswirkung\w*|влияни\w*)\b|影响|影響|영향"),
    (SYMPTOM, r"\b(?:meaning|symptom\w*|this\ alert)\b|含义|含義|症状|症狀|现象|現象|증상|의미"),
    (
        RESOLUTION,  # what is done, whatever for
        r"""\b(?:steps?|actions?|procedures?|schritte?|etapes?|pasos?|passos?|acciones|acoes|medidas?|mesures?
        |шаг\w*|действи\w*|мер[ыа])\b|步骤|步驟|手順|절차|操作|措施|建议|建議|方案""",
    ),
)
# These decide whatever else the title says: `Mitigation (long-term)`.
_LONG_TERM = re.compile(
    r"\b(?:long(?:er)?[ -]?term|permanent(?:ly)?|langfristig\w*|dauerhaft\w*|long terme|largo plazo"
    r"|longo prazo|lungo termine|долгосрочн\w*)\b|长期|長期|恒久|장기"
)
_HINT = tuple((kind, re.compile(pattern, re.VERBOSE)) for kind, pattern in _HINTS)
# Words that say neither that a cause is found nor that it is removed: below `Diagnosis` they are its steps.
_GENERIC = frozenset(
    _split_titles("""
        steps, actions, action, procedure, response, checks, next steps, handling, summary, overview,
        description, about, short term, 步骤, 步驟, 手順, 절차, 단계, schritte, etapes, pasos, passos, шаги,
        vorgehen, procedimiento, procedimento, 確認, 확인""")
)
# Other documents have them, too.
_WEAK = frozenset(
    _split_titles("""
        overview, summary, about, trigger, procedure, response, recovery, next steps, handling, 概述, 概要,
        简介, 簡介, 说明, 說明, 説明, 描述, 分析, 步骤, 步驟, 手順, 개요, 설명, 분석, 절차, 단계, uberblick,
        beschreibung, analyse, schritte, vorgehen, resume, apercu, resumen, analisis, resumo, visao geral,
        описание, обзор, анализ, шаги, procedimiento, procedimento, etapes, wiederherstellung,
        восстановление, 恢复, 恢復, 복구, 確認, 확인, medidas, меры""")
)
_SEPARATOR = re.compile(
    r"[/|&+,;、・:：()（）\[\]【】–—]|\s-\s|\b(?:and|or|und|oder|et|ou|y|o|e|и|или)\b|와|과|及|和|与|與"
)


@dataclass(frozen=True)
class SectionTitles:
    """The titles that have a meaning: the built-in ones and a team's *own*, which come first.

    *own* has normalized titles (`normalize_title`) with their kinds: one of `CANONICAL`, or `LATER`.
    """

    own: Mapping[str, str] = field(default_factory=dict)

    def find_kind(self, title: str) -> str:
        """Return the kind that a table has for *title* as a whole, else an empty string."""
        bare = normalize_title(title)
        return self.own.get(bare) or _KINDS.get(bare, "")

    def guess_kind(self, title: str) -> str:
        """Return the kind of a section below an alert: by the whole title, by its pieces, or by a word in it.

        `Diagnosis and mitigation` is a resolution: it says what to do.
        """
        if kind := self.find_kind(title):
            return kind
        pieces = _SEPARATOR.split(title[:MAX_TITLE_CHARS])
        found = {self.find_kind(piece) for piece in pieces if piece.strip()}
        words = _fold(title[:MAX_TITLE_CHARS])
        if _LONG_TERM.search(words):
            return LATER
        for kind in (RESOLUTION, DIAGNOSIS, *CANONICAL, LATER):
            if kind in found:
                return kind
        return next((kind for kind, hint in _HINT if hint.search(words)), "")

    def proves_alert(self, title: str) -> bool:
        """Return whether only the runbook of an alert has such a title: `Impact`, but not `Overview`."""
        bare = normalize_title(title)
        return self.find_kind(title) in (SYMPTOM, IMPACT, DIAGNOSIS, RESOLUTION) and bare not in _WEAK

    def is_generic(self, title: str) -> bool:
        """Return whether *title* leaves open which section its words belong to: `Steps`."""
        bare = normalize_title(title)
        return bare in _GENERIC and bare not in self.own

    def find_shown(self, title: str) -> str:
        """Return the title to show: the canonical one of an English synonym, else *title* as written."""
        bare = normalize_title(title)
        return (bare not in self.own and _SHOWN.get(bare)) or title.strip().rstrip(":：").strip()


def build_section_titles(own: Mapping[str, Iterable[str]]) -> SectionTitles:
    """Return the built-in titles and *own*, lists of titles by their kind."""
    return SectionTitles({normalize_title(title): kind for kind, titles in own.items() for title in titles})


_SHOWN = {title: kind for kind, titles in _ENGLISH.items() for title in _split_titles(titles)}
_KINDS = (
    dict.fromkeys(_split_titles(_LATER), LATER)
    | {title: kind for kind, titles in _FOREIGN.items() for title in _split_titles(titles)}
    | _SHOWN
)
BUILT_IN_TITLES = SectionTitles()
