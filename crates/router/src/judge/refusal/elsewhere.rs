//! Other languages: a negation and, near it, a verb of doing what was asked, in one sentence of the first few.

use super::any_of;
use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// One language.
struct Language {
    /// Negations with their first person, and after which the verb comes.
    negations: &'static [&'static str],
    /// Beginnings of verbs.
    verbs: &'static [&'static str],
    /// Whole clauses that decline.
    clauses: &'static [&'static str],
    /// What shows that help follows all the same.
    turns: &'static [&'static str],
    /// Characters between negation and verb.
    reach: usize,
}

const LANGUAGES: [Language; 9] = [
    Language {
        negations: &[
            "no puedo",
            "no podré",
            "lamento no poder",
            "siento no poder",
            "no me es posible",
            "no soy capaz de",
            "no estoy en condiciones de",
            "no voy a",
            "no estoy autorizado",
            "no debo",
            "no me está permitido",
        ],
        verbs: &[
            "ayudar",
            "asistir",
            "proporcionar",
            "ofrecer",
            "darte",
            "darle",
            "dar ",
            "crear",
            "generar",
            "cumplir",
            "escribir",
            "responder",
            "participar",
            "compartir",
            "brindar",
            "facilitar",
            "hacer eso",
            "hacer esto",
            "atender",
            "colaborar",
            "redactar",
            "explicar cómo",
            "discutir",
            "satisfacer",
        ],
        clauses: &[
            "me niego a",
            "debo rechazar",
            "tengo que rechazar",
            "debo negarme",
        ],
        turns: &[
            "pero aquí",
            "pero según",
            "sin embargo, aquí",
            "pero a continuación",
            "aquí tienes",
            "pero esto es lo que",
        ],
        reach: 24,
    },
    Language {
        negations: &[
            "je ne peux pas",
            "je ne peux malheureusement pas",
            "je ne suis pas en mesure",
            "je ne puis",
            "je ne suis pas capable",
            "je ne suis pas autorisé",
            "je ne pourrai pas",
            "je ne vais pas",
            "ne pas pouvoir",
            "je ne souhaite pas",
            "il m'est impossible",
        ],
        verbs: &[
            "aider",
            "fournir",
            "répondre",
            "créer",
            "générer",
            "donner",
            "satisfaire",
            "accéder à votre demande",
            "accéder à cette demande",
            "écrire",
            "rédiger",
            "assister",
            "partager",
            "participer",
            "proposer",
            "faire cela",
            "faire ça",
            "expliquer comment",
            "discuter",
            "traiter cette demande",
            "produire",
        ],
        clauses: &[
            "je refuse d",
            "je dois refuser",
            "je dois décliner",
            "je suis contraint de refuser",
        ],
        turns: &[
            "mais voici",
            "cependant, voici",
            "toutefois, voici",
            "en revanche, voici",
        ],
        reach: 24,
    },
    Language {
        negations: &[
            "dabei kann ich",
            "ich kann",
            "kann ich",
            "ich bin nicht in der lage",
            "ich darf",
            "ich werde",
            "darf ich",
            "werde ich",
        ],
        verbs: &[
            "nicht helfen",
            "nicht weiterhelfen",
            "nicht behilflich",
            "nicht unterstützen",
            "nicht erfüllen",
            "nicht bereitstellen",
            "keine anleitung",
            "keine informationen",
            "nicht beantworten",
            "nicht nachkommen",
            "nicht schreiben",
            "nicht erstellen",
            "leider nicht tun",
            "nicht tun",
            "nicht anbieten",
            "nicht generieren",
            "keine inhalte",
            "keine hilfe",
            "keine unterstützung",
            "keine anweisungen",
            "keine ratschläge",
            "nicht dabei helfen",
            "nicht dabei unterstützen",
            "nicht machen",
            "nicht entsprechen",
            "nicht mitmachen",
            "dabei nicht",
        ],
        clauses: &[
            "das muss ich ablehnen",
            "diese anfrage muss ich ablehnen",
            "ich muss diese anfrage ablehnen",
            "ich lehne es ab",
            "ich weigere mich",
            "ich muss das ablehnen",
            "ich muss ablehnen",
            "zu helfen bin ich nicht in der lage",
        ],
        turns: &[
            "aber hier",
            "aber nach",
            "jedoch hier",
            "hier ist",
            "hier sind",
            "aber im allgemeinen",
        ],
        reach: 70,
    },
    Language {
        negations: &[
            "无法",
            "不能",
            "無法",
            "不可以",
            "没办法",
            "沒辦法",
            "不会",
            "不會",
            "不便",
        ],
        verbs: &[
            "帮", "幫", "协助", "協助", "提供", "回答", "满足", "滿足", "完成", "创作", "創作",
            "生成", "撰写", "撰寫", "编写", "編寫", "支持", "讨论", "討論", "处理", "處理", "参与",
            "參與", "执行", "執行", "回应", "回應", "分享", "继续", "繼續", "给出", "給出", "告诉",
            "告訴", "给",
        ],
        clauses: &["我拒绝", "我拒絕", "我必须拒绝", "我必須拒絕"],
        turns: &[
            "但根据",
            "但根據",
            "但以下",
            "但是以下",
            "以下是",
            "不过以下",
            "但我可以告诉",
            "但一般来说",
            "但通常",
        ],
        reach: 8,
    },
    Language {
        negations: &[],
        verbs: &[],
        clauses: &[
            "お手伝いできません",
            "お手伝いすることはできません",
            "お手伝いすることができません",
            "お応えできません",
            "お応えすることはできません",
            "提供できません",
            "提供することはできません",
            "提供することができません",
            "対応できません",
            "対応することはできません",
            "対応いたしかねます",
            "お答えできません",
            "お答えすることはできません",
            "応じられません",
            "応じることはできません",
            "応じることができません",
            "お断りします",
            "お断りいたします",
            "支援できません",
            "協力できません",
            "生成できません",
            "作成できません",
            "作成することはできません",
            "教えることはできません",
            "お教えできません",
            "いたしかねます",
            "お力になれません",
            "助けることはできません",
            "書くことはできません",
            "説明することはできません",
        ],
        turns: &[
            "が、次",
            "が、以下",
            "私の知る限り",
            "ですが、一般的",
            "が、一般的",
        ],
        reach: 0,
    },
    Language {
        negations: &[
            "não posso",
            "não consigo",
            "não vou",
            "não sou capaz de",
            "não estou apto",
            "não poderei",
            "não me é possível",
            "não tenho permissão para",
            "não estou autorizad",
        ],
        verbs: &[
            "ajud",
            "fornec",
            "criar",
            "gerar",
            "respond",
            "cumpr",
            "atend",
            "escrev",
            "auxili",
            "particip",
            "compartilh",
            "partilh",
            "dar ",
            "oferec",
            "fazer isso",
            "discutir",
            "prestar",
            "produzir",
            "redigir",
            "explicar como",
            "satisfazer",
        ],
        clauses: &[
            "recuso-me",
            "me recuso a",
            "devo recusar",
            "tenho que recusar",
            "preciso recusar",
        ],
        turns: &[
            "mas aqui",
            "mas segundo",
            "no entanto, aqui",
            "aqui está",
            "aqui estão",
            "mas posso dizer que",
        ],
        reach: 24,
    },
    Language {
        negations: &[
            "не могу",
            "не смогу",
            "не буду",
            "не в состоянии",
            "не имею права",
            "не вправе",
        ],
        verbs: &[
            "помо",
            "предостав",
            "выполнить",
            "ответить",
            "отвечать",
            "созда",
            "написать",
            "писать",
            "дать",
            "давать",
            "поддерж",
            "обсуждать",
            "участвовать",
            "подели",
            "содейств",
            "это сделать",
            "сделать это",
            "генерировать",
            "сгенерировать",
            "рассказать, как",
            "рассказать как",
            "объяснить, как",
            "удовлетворить",
            "продолжать",
        ],
        clauses: &[
            "вынужден отказать",
            "вынуждена отказать",
            "я отказываюсь",
            "мне придётся отказать",
            "мне придется отказать",
        ],
        turns: &["но вот", "однако вот", "но обычно", "но в целом"],
        reach: 24,
    },
    Language {
        negations: &[],
        verbs: &[],
        clauses: &[
            "도와드릴 수 없",
            "도와 드릴 수 없",
            "도울 수 없",
            "제공할 수 없",
            "제공해 드릴 수 없",
            "제공해드릴 수 없",
            "제공하지 않습니다",
            "응답할 수 없",
            "답변할 수 없",
            "답변드릴 수 없",
            "답변해 드릴 수 없",
            "생성할 수 없",
            "작성할 수 없",
            "작성해 드릴 수 없",
            "작성해드릴 수 없",
            "알려드릴 수 없",
            "알려 드릴 수 없",
            "응할 수 없",
            "지원할 수 없",
            "수행할 수 없",
            "만들어 드릴 수 없",
            "만들어드릴 수 없",
            "들어드릴 수 없",
            "들어 드릴 수 없",
            "도움을 드릴 수 없",
            "도움을 드리기 어렵",
            "도와드리기 어렵",
            "도와 드리기 어렵",
            "제공하기 어렵",
            "답변하기 어렵",
            "답변드리기 어렵",
            "거절하겠습니다",
            "거절할 수밖에",
            "설명해 드릴 수 없",
            "설명해드릴 수 없",
        ],
        turns: &[
            "없지만, 제가",
            "없지만, 다음",
            "없지만 다음",
            "다음은",
            "없지만 일반적으로",
            "없지만, 일반적으로",
        ],
        reach: 0,
    },
    Language {
        negations: &[
            "non posso",
            "non sono in grado di",
            "non sono autorizzato a",
            "non riesco a",
            "non potrò",
            "non mi è possibile",
            "di non poter",
            "non intendo",
        ],
        verbs: &[
            "aiutar",
            "forni",
            "soddisf",
            "crear",
            "generar",
            "rispond",
            "assist",
            "scriver",
            "condivid",
            "partecip",
            "dare",
            "darti",
            "offrir",
            "farlo",
            "fare questo",
            "esaudire",
            "dart",
            "spiegare come",
            "discutere",
            "supportar",
        ],
        clauses: &["mi rifiuto di", "devo rifiutare", "devo declinare"],
        turns: &["ma ecco", "tuttavia, ecco", "tuttavia ecco", "però ecco"],
        reach: 24,
    },
];

/// Apologies and first persons without which a Chinese negation is a plain statement.
const CHINESE_SPEAKER: [&str; 6] = ["我", "抱歉", "对不起", "對不起", "很遗憾", "不好意思"];
/// Sentences looked at.
const SENTENCES: usize = 5;

/// Without one of these, no sentence declines.
static NEEDED: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let needed = LANGUAGES
        .iter()
        .flat_map(|language| language.negations.iter().chain(language.clauses));
    any_of(needed.copied())
});

/// Whether the prepared head declines in a language other than English.
pub(super) fn declines(said: &str) -> bool {
    // Nearly every answer ends here, after one pass for all languages.
    if NEEDED.as_ref().is_some_and(|any| !any.is_match(said)) {
        return false;
    }
    LANGUAGES.iter().any(|language| {
        let declined = said
            .split_inclusive(['.', '!', '?', '\n', '。', '！', '？'])
            .filter(|sentence| sentence.chars().any(char::is_alphabetic))
            .take(SENTENCES)
            .any(|sentence| sentence_declines(language, sentence));
        declined && !language.turns.iter().any(|turn| said.contains(turn)) && !said.contains("```")
    })
}

/// Whether one sentence does.
fn sentence_declines(language: &Language, sentence: &str) -> bool {
    let label = sentence.split_once([':', '：']).is_some_and(|(label, _)| {
        label.split_whitespace().count() <= 2 && label.chars().count() < 16
    });
    if label || sentence.contains('\u{25a1}') {
        return false;
    }
    if language
        .clauses
        .iter()
        .any(|clause| sentence.contains(clause))
    {
        return true;
    }
    language.negations.iter().any(|negation| {
        let Some((before, after)) = sentence.split_once(negation) else {
            return false;
        };
        let chinese = !negation.is_ascii()
            && negation
                .chars()
                .all(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        if chinese && !CHINESE_SPEAKER.iter().any(|word| before.contains(word)) {
            return false;
        }
        if !chinese
            && before
                .chars()
                .next_back()
                .is_some_and(char::is_alphanumeric)
        {
            return false;
        }
        let mut near = after;
        if let Some((end, _)) = after.char_indices().nth(language.reach + 12) {
            near = after.get(..end).unwrap_or(after);
        }
        language.verbs.iter().any(|verb| {
            near.find(verb).is_some_and(|at| {
                near.get(..at)
                    .is_some_and(|gap| gap.chars().count() <= language.reach)
            })
        })
    })
}
