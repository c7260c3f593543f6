use super::*;
use crate::quality::check::Verdict;
use crate::quality::words::words;

fn verdict_with(question: &str, text: &str, instructions: &str) -> Verdict {
    let answer = Answer::new(text);
    let found = words(&answer.prose);
    check(&answer, &found, question, &words(question), instructions).verdict
}

fn verdict(question: &str, text: &str) -> Verdict {
    verdict_with(question, text, "")
}

const ENGLISH: &str = "The sky is blue because the air scatters the short waves of the light more than it does the long ones, and so they come to us from all of it.";
const GERMAN: &str = "Der Himmel ist blau, weil die Luft das kurzwellige Licht stärker streut als das langwellige, und so kommt es aus allen Richtungen zu uns.";
const FRENCH: &str = "Le ciel est bleu parce que l'air diffuse les ondes courtes de la lumière plus que les longues, et elles nous viennent donc de tous les côtés.";
const SPANISH: &str = "El cielo es azul porque el aire dispersa más las ondas cortas de la luz que las largas, y por eso nos llegan de todas partes.";
const CHINESE: &str =
    "天空是蓝色的，因为空气散射短波光比长波光更强，所以蓝光从四面八方来到我们的眼睛。";
const JAPANESE: &str = "空が青いのは、空気が短い波長の光を長い波長の光よりも強く散乱するためです。";

#[test]
fn fails_an_answer_in_another_language() {
    for (question, answer) in [
        ("Why is the sky blue, and what does the air do?", GERMAN),
        ("Why is the sky blue, and what does the air do?", CHINESE),
        ("Warum ist der Himmel blau?", ENGLISH),
        ("Pourquoi le ciel est-il bleu ?", ENGLISH),
        ("¿Por qué es azul el cielo de la mañana?", FRENCH),
        ("为什么天空是蓝色的？请解释一下。", ENGLISH),
        ("空はなぜ青いのですか？教えてください。", CHINESE),
        ("Почему небо голубое днём, а ночью чёрное?", ENGLISH),
        ("Explain in French why the sky is blue.", ENGLISH),
        ("Why is the sky blue? Answer in German.", ENGLISH),
        ("Why is the sky blue? Please answer in Spanish.", FRENCH),
        ("Antworte auf Englisch: Warum ist der Himmel blau?", GERMAN),
        ("请用英语回答：天空为什么是蓝色的？", CHINESE),
        (
            "Responde en inglés, por favor: ¿por qué es azul el cielo?",
            SPANISH,
        ),
    ] {
        assert_eq!(
            verdict(question, answer),
            Verdict::Failed,
            "{question} / {answer}"
        );
    }
    assert_eq!(
        verdict_with("Why is the sky blue?", ENGLISH, "Always answer in German."),
        Verdict::Failed
    );
}

#[test]
fn passes_an_answer_in_the_language_asked_in_or_for() {
    for (question, answer) in [
        ("Why is the sky blue, and what does the air do?", ENGLISH),
        ("Warum ist der Himmel blau?", GERMAN),
        ("Pourquoi le ciel est-il bleu ?", FRENCH),
        ("¿Por qué es azul el cielo de la mañana?", SPANISH),
        ("为什么天空是蓝色的？请解释一下。", CHINESE),
        ("空はなぜ青いのですか？教えてください。", JAPANESE),
        ("Explain in French why the sky is blue.", FRENCH),
        ("Why is the sky blue? Answer in German.", GERMAN),
        (
            "Why is the sky blue? Answer in German.",
            &format!("{ENGLISH}\n\n{GERMAN}"),
        ),
    ] {
        assert_ne!(
            verdict(question, answer),
            Verdict::Failed,
            "{question} / {answer}"
        );
    }
}

#[test]
fn says_nothing_of_translations_quotations_and_short_texts() {
    for (question, answer) in [
        (
            "Translate into German: the sky is blue because of the air.",
            GERMAN,
        ),
        (
            "How do you say this in German: why is the sky blue?",
            GERMAN,
        ),
        ("What are the lyrics of the song about the sky?", FRENCH),
        ("What does the word Himmel mean?", GERMAN),
        ("Why is the sky blue?", "Rayleigh."),
        ("hello", GERMAN),
        (
            "Summarise: Der Himmel ist blau, weil die Luft das Licht streut.",
            ENGLISH,
        ),
        (
            "What is this about? Der Himmel ist blau, weil die Luft das Licht streut.",
            ENGLISH,
        ),
        (
            "解释：Der Himmel ist blau, weil die Luft das kurze Licht stärker streut.",
            CHINESE,
        ),
        (
            "```python\ndef title(s):\n    return s.by(k, v, s, z)\n```\ntitle(k, s, s) ?",
            ENGLISH,
        ),
        (
            "Trace `f(k, s)`: ```\ns = s.pro(v, k, z); z = s\n```",
            ENGLISH,
        ),
        ("Who was a famous writer in French literature?", ENGLISH),
        ("Which English writers are in the list?", ENGLISH),
        ("Write this in German and in French, please.", ENGLISH),
    ] {
        assert_ne!(
            verdict(question, answer),
            Verdict::Failed,
            "{question} / {answer}"
        );
    }
    assert_ne!(
        verdict_with(
            "Why is the sky blue at noon?",
            GERMAN,
            "Du bist ein Helfer und sprichst nur mit uns."
        ),
        Verdict::Failed
    );
}

#[test]
fn tells_languages() {
    let told = |text: &str| tell(text, &words(text), 4).map(Language::name);
    for (text, name) in [
        (ENGLISH, "English"),
        (GERMAN, "German"),
        (FRENCH, "French"),
        (SPANISH, "Spanish"),
        (CHINESE, "Chinese"),
        (JAPANESE, "Japanese"),
        (
            "O céu é azul porque o ar espalha mais as ondas curtas da luz, e não as longas.",
            "Portuguese",
        ),
        (
            "Il cielo è azzurro perché l'aria diffonde di più le onde corte della luce che non le lunghe.",
            "Italian",
        ),
        (
            "De lucht is blauw omdat het korte licht meer door de lucht wordt verstrooid dan het lange.",
            "Dutch",
        ),
        (
            "Niebo jest niebieskie, bo powietrze rozprasza światło i to nie jest takie proste jak się wydaje.",
            "Polish",
        ),
        (
            "Langit biru karena udara menghamburkan cahaya yang pendek dan tidak yang panjang.",
            "Indonesian",
        ),
        (
            "Bầu trời có màu xanh vì không khí tán xạ ánh sáng và đó là điều của tự nhiên.",
            "Vietnamese",
        ),
        (
            "Gökyüzü mavi bir renk çünkü hava ışığı çok daha fazla dağıtır ve bu böyle.",
            "Turkish",
        ),
        (
            "الهواء ينثر الضوء القصير أكثر من الطويل",
            "Arabic or another in its script",
        ),
    ] {
        assert_eq!(told(text), Some(name), "{text}");
    }
    for text in [
        "",
        "12 + 34 = 46",
        "Paris London Tokyo Berlin Madrid Lisbon",
        "x = foo(bar)",
    ] {
        assert_eq!(told(text), None, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_texts_can_be_judged(question in ".{0,200}", answer in ".{0,200}", system in ".{0,50}") {
        let _ = verdict_with(&question, &answer, &system);
    }
}
