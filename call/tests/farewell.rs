//! H9, H7, B4: farewells and back-channels in six languages, as tables. What people and models really say, and traps.

use std::collections::BTreeSet;

use call::farewell::{Language, is_back_channel, is_only_farewell, mask, says_farewell};
use proptest::prelude::*;

/// Every line of both tables, in this language and by this question; all mistakes at once. Masked, each is asked again.
fn check(question: fn(&str, &[Language]) -> bool, language: Language, yes: &[&str], no: &[&str]) {
    let mut wrong = Vec::new();
    for (texts, expected) in [(yes, true), (no, false)] {
        for &text in texts {
            let masked = mask(text, &[language]);
            if question(text, &[language]) != expected {
                wrong.push(format!("not {expected}: {text}"));
            } else if question(&masked, &[language]) != expected {
                wrong.push(format!("not {expected} once masked: {text} ({masked})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", language.code(), yes.len() + no.len(), wrong.join("\n"));
}

#[test]
fn h9_english_agents() {
    let yes = [
        "Thanks for calling, have a great day!",
        "Goodbye!",
        "Goodbye.",
        "Take care, bye.",
        "Have a nice evening, Jonathan.",
        "Talk to you soon. Bye-bye!",
        "You're all set for Tuesday. Have a wonderful day!",
        "GOODBYE",
        "“Goodbye!”",
        "Goodbye, Mr. Smith.",
        "Goodbye Dr. Mary Ann Smith.",
        "Goodbye, J. Smith.",
        "Your table is booked for 7 p.m. Have a lovely evening!",
        "Goodbye! Thank you for calling.",
        "Goodbye, and thanks for calling Spokes and Chain!",
        "Thank you for calling Spokes and Chain and have a great rest of your day.",
        "If there's nothing else, have a great day!",
        "Feel free to call back if you need anything and have a great day!",
        "Have a great day, and let us know if you need anything else!",
        "I hope you have a wonderful day ahead, Anna.",
        "You’re welcome, take care of yourself!",
        "You too, good night!",
        "No problem at all. See you soon!",
        "See you tomorrow at ten.",
        "Perfect, see you on Tuesday at ten!",
        "Have a great day! If you need anything else, just give us a call.",
        "Great, enjoy your weekend!",
        "We will talk to you soon.",
        "It was a pleasure talking to you today. Good-bye!",
        "Alright then, bye for now 👋",
        "Thanks, and all the best!",
        "Do you need anything else? No? Then goodbye!",
        "No, goodbye.",
        "Goodbye...",
        "We'll ship it today.\nBye!",
        "Have a good one!",
        "Well, have a great day!",
        "We’ll see you then. Take care!",
    ];
    let no = [
        "",
        "...",
        "Hello, thank you for calling Spokes and Chain.",
        "Hi! Thanks for calling.",
        "Say goodbye to high prices!",
        "Before we say goodbye, one question?",
        "Before we say goodbye, let me confirm your address.",
        "Goodbye is a word that comes from God be with you.",
        "The word goodbye is old.",
        "Goodbye, but first let me confirm your number.",
        "Have a great day, oh wait, I forgot your order number.",
        "Goodbye! Actually, one more thing.",
        "Goodbye. How can I help you next?",
        "Bye?",
        "Goodbye!?",
        "I'll take care of that right away.",
        "Let me take care of the booking.",
        "Our team takes care. We will take care of it.",
        "That is 16 bytes, or a byebyte.",
        "The goodbyes were long.",
        "There was no goodbye.",
        "Did you have a good day at the shop.",
        "If you have a good day on Tuesday, come by.",
        "You'll have a great time in Rome.",
        "An adviser will speak with you soon.",
        "I see you then changed the order.",
        "I hope to see you soon.",
        "We will have a good day planned for you.",
        "Take care to lock the door.",
        "We have all the best prices.",
        "Please stand by.",
        "Good day, Spokes and Chain.",
        "Hi, bye.",
        "They said goodbye.",
        "Your colleague left a farewell gift.",
        "Would you like to have a great day pass.",
        "The farewell dinner is at eight.",
    ];
    check(says_farewell, Language::ENGLISH, &yes, &no);
}

#[test]
fn h9_hebrew_agents() {
    let yes = [
        "להתראות!",
        "ולהתראות",
        "ביי ולהתראות",
        "תודה ולהתראות.",
        "תודה רבה, ביי!",
        "ביי ביי",
        "ביי-ביי!",
        "לְהִתְרָאוֹת",
        "בַּיי",
        "יום נעים!",
        "שיהיה לך יום טוב!",
        "ושיהיה לך ערב נעים, דנה.",
        "המשך יום נעים",
        "תודה שהתקשרת, המשך יום טוב!",
        "לילה טוב.",
        "ולילה טוב לך",
        "סוף שבוע נעים!",
        "נתראה ביום שלישי.",
        "אז נתראה מחר",
        "התור נקבע לשעה עשר. להתראות!",
        "בסדר גמור, להתראות יונתן",
        "שמור על עצמך!",
        "כל טוב!",
        "וכל טוב לך.",
        "שלום ולהתראות",
        "תודה רבה ויום טוב!",
        "להתראות, גב' כהן.",
        "שמחתי לעזור. ביי!",
        "יש עוד משהו? לא? אז להתראות!",
        "״להתראות״",
        "להתראות! תודה שהתקשרת.",
        "תודה, נשתמע.",
    ];
    let no = [
        "היי ביי",
        "היי, ביי.",
        "שלום, איך אפשר לעזור?",
        "שלום!",
        "היי שלום, מדבר דני.",
        "ערב טוב, הגעתם לחנות האופניים.",
        "להתראות. איך אפשר לעזור?",
        "לפני שנגיד להתראות, מה הכתובת שלך?",
        "לפני שנגיד להתראות, אני צריכה את הכתובת.",
        "להתראות, אבל רגע, יש עוד דבר אחד.",
        "המילה להתראות היא מילה יפה.",
        "להתראות?",
        "קניתי את זה באיביי.",
        "הוא במצב סטנד ביי.",
        "מזג האוויר היום נעים.",
        "הגיעו להתראותיהם.",
        "הוא בא להגיד ביי.",
        "ביי. עכשיו נעבור להזמנה שלך.",
        "בשעה עשר נתראה בחנות.",
    ];
    check(says_farewell, Language::HEBREW, &yes, &no);
}

#[test]
fn h9_spanish_agents() {
    let yes = [
        "¡Adiós!",
        "Adios.",
        "ADIÓS",
        "Adio\u{301}s.",
        "Gracias por llamar, ¡hasta luego!",
        "¡Hasta pronto, María!",
        "¡Hasta mañana!",
        "Perfecto, entonces hasta mañana.",
        "Su cita queda para el lunes. ¡Hasta el lunes!",
        "Que tenga un buen día.",
        "Muchas gracias por su llamada, que tenga un excelente día.",
        "Gracias y que pase buena tarde.",
        "Que tengas una linda noche, Sra. López.",
        "Nos vemos pronto.",
        "Chao, chao.",
        "Chau!",
        "¿Algo más? ¿No? ¡Adiós!",
        "Cuídese mucho.",
        "Adiós, Sr. García.",
        "¡Feliz fin de semana!",
        "De nada, ¡que le vaya bien!",
        "Bye bye.",
        "Hasta la próxima.",
        "Adiós a todos.",
        "Hasta luego. Gracias por llamar.",
        "¡Buen fin de semana!",
        "Que descanse.",
        "Un placer ayudarle, adiós.",
        "Que tenga buen viaje.",
        "Le deseo un excelente día.",
    ];
    let no = [
        "Hola, buenas noches.",
        "Buenos días, gracias por llamar.",
        "Diga adiós a los precios altos.",
        "Antes de decir adiós, ¿me confirma su correo?",
        "Antes de decir adiós, necesito su correo.",
        "Adiós a las deudas.",
        "¿Adiós?",
        "Adiós, pero antes dígame su nombre.",
        "El pedido no llega hasta mañana.",
        "Estamos abiertos hasta el viernes.",
        "Eso es lo que tenemos hasta ahora.",
        "La palabra adiós es bonita.",
        "Adiós. ¿En qué puedo ayudarle?",
        "Adiós. Ahora miro su pedido.",
        "Cuando nos vemos mañana, traiga la bicicleta.",
        "El chaos fue grande.",
        "Hablamos de eso ayer.",
        "Se despidió con un adiós.",
    ];
    check(says_farewell, Language::SPANISH, &yes, &no);
}

#[test]
fn h9_german_agents() {
    let yes = [
        "Tschüss!",
        "TSCHÜSS",
        "Tschüß!",
        "Tschu\u{308}ss, Anna!",
        "Tschüs, bis bald!",
        "Auf Wiedersehen.",
        "Auf Wiederhören, Herr Müller.",
        "Vielen Dank für Ihren Anruf, auf Wiederhören!",
        "Auf Wiederhören, Hr. Dr. Schmidt.",
        "Ich wünsche Ihnen noch einen schönen Tag!",
        "Einen schönen Tag noch.",
        "Schönen Abend!",
        "Haben Sie noch einen schönen Tag, Frau Weber.",
        "Haben Sie noch eine Frage? Nein? Dann auf Wiedersehen!",
        "Danke und bis morgen!",
        "Dann bis Freitag.",
        "Gerne, bis dann!",
        "Machen Sie's gut!",
        "Machen Sie’s gut.",
        "Mach's gut, tschau.",
        "Gute Nacht!",
        "Schönes Wochenende!",
        "Alles Gute, Herr Braun.",
        "Ihr Termin ist um zehn. Bis dann, tschüss!",
        "Ade!",
        "Bye bye!",
        "Gerne geschehen, ciao!",
        "Auf Wiedersehen. Vielen Dank für Ihren Anruf.",
        "Ihnen auch einen schönen Abend.",
    ];
    let no = [
        "Guten Tag!",
        "Guten Tag, Fahrradladen Speiche, Weber am Apparat.",
        "Guten Abend.",
        "Wir haben bis morgen geöffnet.",
        "Wir haben von Montag bis Freitag offen.",
        "Das dauert bis morgen.",
        "Wann sehen wir uns, bis Freitag oder später?",
        "Bevor wir tschüss sagen, brauche ich Ihre Nummer.",
        "Tschüss sagen ist schwer.",
        "Auf Wiedersehen?",
        "Auf Wiedersehen, aber vorher noch Ihre Adresse.",
        "Tschüss. Was kann ich noch für Sie tun?",
        "Tschüss. Ich prüfe jetzt Ihre Bestellung.",
        "Wir hatten einen schönen Tag.",
        "Wenn Sie einen schönen Tag wollen, kommen Sie am Montag.",
        "Das Wort tschüss heißt Lebewohl.",
        "Wir freuen uns auf ein Wiedersehen.",
        "Die Dekade war lang.",
    ];
    check(says_farewell, Language::GERMAN, &yes, &no);
}

#[test]
fn h9_french_agents() {
    let yes = [
        "Au revoir !",
        "AU REVOIR",
        "Merci de votre appel, au revoir.",
        "Au revoir, M. Dupont.",
        "Au revoir, Mme Martin, et bonne journée.",
        "Bonne journée !",
        "Je vous souhaite une très bonne journée.",
        "Je vous souhaite une bonne soirée, Paul.",
        "Passez une bonne soirée.",
        "Je vous remercie, passez une excellente fin de journée.",
        "À bientôt !",
        "A bientot.",
        "A\u{300} biento\u{302}t.",
        "À demain, Julie.",
        "Très bien, à lundi !",
        "Merci et à très bientôt.",
        "À tout à l'heure.",
        "À tout à l’heure !",
        "Bon week-end !",
        "Bonne nuit.",
        "Je vous dis au revoir et à bientôt.",
        "Au revoir à tous !",
        "Bonne fin de journée.",
        "Adieu.",
        "Ciao, ciao !",
        "Prenez soin de vous.",
        "Avec plaisir, bonne continuation.",
        "Autre chose ? Non ? Alors au revoir !",
        "Au revoir. Merci de votre appel.",
        "Votre rendez-vous est à dix heures. Au revoir !",
        "C'est noté. Au revoir et merci d'avoir appelé.",
        "« Au revoir »",
    ];
    let no = [
        "Bonjour !",
        "Salut !",
        "Bonsoir, merci de votre appel.",
        "Dites au revoir aux prix élevés.",
        "Avant de dire au revoir, puis-je avoir votre nom ?",
        "Avant de dire au revoir, il me faut votre nom.",
        "Le rendez-vous est reporté à demain.",
        "Nous sommes ouverts du mardi à samedi.",
        "On remet cela à plus tard.",
        "Il n'y en a plus.",
        "Au revoir ?",
        "Au revoir, mais attendez, votre adresse.",
        "Au revoir. Comment puis-je vous aider ?",
        "Au revoir. Je regarde votre commande.",
        "Ce n'est qu'un au revoir.",
        "J'aimerais le revoir.",
        "Vous avez passé une bonne journée.",
        "Le mot adieu est triste.",
    ];
    check(says_farewell, Language::FRENCH, &yes, &no);
}

#[test]
fn h9_arabic_agents() {
    let yes = [
        "مع السلامة!",
        "مع السلامه",
        "مَعَ السَّلَامَةِ",
        "ومع السلامة.",
        "شكرا لاتصالك، مع السلامة!",
        "شكرًا جزيلًا، إلى اللقاء.",
        "الى اللقاء",
        "وإلى اللقاء يا أحمد.",
        "وداعًا!",
        "وداعا يا صديقي",
        "باي",
        "باي باي!",
        "يلا باي.",
        "في أمان الله.",
        "تصبح على خير!",
        "تصبحين على خير يا سارة.",
        "أتمنى لك يومًا سعيدًا!",
        "نتمنى لكم يوما طيبا، مع السلامة.",
        "ليلة سعيدة.",
        "موعدك يوم الثلاثاء. مع السلامة!",
        "هل تحتاج شيئا آخر؟ لا؟ مع السلامة!",
        "مع الســـلامة",
        "مع السلامة. شكرا لاتصالك.",
        "مع السلامة، د. أحمد.",
        "أراك غدا.",
        "تمام، نراكم قريبا!",
        "على الرحب والسعة، في حفظ الله.",
        "«مع السلامة»",
    ];
    let no = [
        "السلام عليكم.",
        "مرحبا، كيف أقدر أساعدك؟",
        "أهلا وسهلا!",
        "مساء الخير، معك متجر الدراجات.",
        "مع السلامة؟",
        "مع السلامة. كيف أساعدك اليوم؟",
        "مع السلامة. سأراجع طلبك الآن فورا.",
        "قل وداعا للأسعار المرتفعة.",
        "وداعا للأسعار المرتفعة!",
        "قبل أن نقول مع السلامة، أحتاج رقم هاتفك.",
        "مع السلامة، لكن انتظر لحظة.",
        "كلمة وداعا حزينة.",
        "إدارة السلامة مع السلامة المرورية.",
        "لا نستطيع أن نراك غدا.",
        "يمكنك الحضور إلى اللقاء.",
        "هذا بايت واحد.",
        "الوداع صعب.",
    ];
    check(says_farewell, Language::ARABIC, &yes, &no);
}

#[test]
fn h9_callers_who_only_say_farewell() {
    let yes = [
        "bye",
        "Bye!",
        "okay thanks, bye",
        "no that's all, goodbye",
        "No, goodbye.",
        "no bye",
        "No. That's all. Thank you so much. Bye.",
        "Okay, thank you very much, have a good day.",
        "you too, bye bye",
        "alright, take care",
        "sounds good, see you",
        "um okay bye",
        "I'm good, thanks. See you later!",
    ];
    let no = [
        "",
        "thanks",
        "okay",
        "bye?",
        "no, wait, goodbye was not what I meant",
        "bye but one more thing",
        "how do I say goodbye in Spanish",
        "bye and what about my order",
        "hi bye",
        "I want to take care of my bill",
        "I bought a bike, bye",
    ];
    check(is_only_farewell, Language::ENGLISH, &yes, &no);
    check(
        is_only_farewell,
        Language::HEBREW,
        &[
            "ביי",
            "תודה רבה, ביי",
            "לא תודה, להתראות",
            "טוב אז ביי ביי",
            "תודה ויום טוב",
            "זהו, תודה, ולהתראות",
            "סבבה יאללה ביי",
        ],
        &["", "תודה", "היי ביי", "ביי אבל רגע", "ביי, ומה עם ההזמנה", "להתראות?", "כן"],
    );
    check(
        is_only_farewell,
        Language::SPANISH,
        &[
            "adiós",
            "vale, gracias, adiós",
            "no, nada más, hasta luego",
            "muchas gracias, chao",
            "eso es todo, gracias, hasta mañana",
        ],
        &["", "gracias", "sí", "adiós, pero espere", "¿adiós?", "hasta mañana no puedo", "hola adiós"],
    );
    check(
        is_only_farewell,
        Language::GERMAN,
        &[
            "tschüss",
            "okay danke, tschüss",
            "nein danke, auf Wiederhören",
            "das war's, vielen Dank, ciao",
            "Ihnen auch, schönen Tag noch",
        ],
        &["", "danke", "ja", "tschüss, aber warten Sie", "guten Tag", "tschüss?", "bis morgen brauche ich das"],
    );
    check(
        is_only_farewell,
        Language::FRENCH,
        &[
            "au revoir",
            "d'accord merci, au revoir",
            "non merci, bonne journée",
            "c'est tout, merci, à bientôt",
            "vous aussi, au revoir",
        ],
        &["", "merci", "oui", "au revoir mais attendez", "bonjour", "au revoir ?", "je veux revoir la facture"],
    );
    check(
        is_only_farewell,
        Language::ARABIC,
        &["مع السلامة", "شكرا، مع السلامة", "لا شكرا، باي", "تمام يلا باي", "خلاص، شكرا جزيلا، إلى اللقاء"],
        &["", "شكرا", "نعم", "مع السلامة لكن انتظر", "مرحبا", "مع السلامة؟", "باي وماذا عن طلبي"],
    );
}

#[test]
fn b4_back_channels() {
    check(
        is_back_channel,
        Language::ENGLISH,
        &[
            "yeah",
            "mhm mhm",
            "uh huh",
            "Uh-huh.",
            "ok ok",
            "Mm-hmm.",
            "Right, right.",
            "Okay. Yeah.",
            "I see.",
            "got it",
            "Mmm…",
        ],
        &[
            "",
            "...",
            "no",
            "yeah but",
            "wait",
            "okay stop",
            "Right?",
            "what",
            "bye",
            "yeah, how much is it",
            "see",
            "yeahs",
            "uh",
        ],
    );
    check(
        is_back_channel,
        Language::HEBREW,
        &["כן", "כן כן", "אהה", "אוקיי", "בסדר", "הבנתי.", "אוקיי, נכון"],
        &["", "לא", "שכן", "רגע", "כן אבל", "מה", "ביי", "כן?"],
    );
    check(
        is_back_channel,
        Language::SPANISH,
        &["sí", "si, si", "ajá", "claro", "ya veo", "vale, vale", "de acuerdo"],
        &["", "no", "espere", "sí pero", "¿sí?", "qué", "adiós", "de"],
    );
    check(
        is_back_channel,
        Language::GERMAN,
        &["ja", "ja ja", "mhm", "genau", "alles klar", "in Ordnung", "ach so, verstehe"],
        &["", "nein", "warten Sie", "ja aber", "ja?", "was", "tschüss", "Ordnung", "jahrelang"],
    );
    check(
        is_back_channel,
        Language::FRENCH,
        &["oui", "oui oui", "d'accord", "d’accord", "mmm", "ah bon", "je vois", "tout à fait"],
        &["", "non", "attendez", "oui mais", "oui ?", "quoi", "au revoir", "accord"],
    );
    check(
        is_back_channel,
        Language::ARABIC,
        &["نعم", "نعم نعم", "أيوه", "تمام", "طيب", "اها", "نَعَمْ، تمام"],
        &["", "لا", "انتظر", "نعم لكن", "نعم؟", "ماذا", "باي", "وتمام"],
    );
}

#[test]
fn h9_two_languages_at_once() {
    let both = [Language::HEBREW, Language::ENGLISH];
    assert!(says_farewell("Okay, להתראות!", &both));
    assert!(is_only_farewell("okay תודה bye", &both));
    assert!(is_back_channel("yeah, כן", &both));
    assert!(!says_farewell("Okay, להתראות!", &[Language::ENGLISH]));
    assert!(!says_farewell("Goodbye!", &[]));
}

#[test]
fn languages_by_code() {
    for language in Language::ALL {
        assert_eq!(Language::from_code(language.code()), Some(language));
    }
    let codes = ["en-US", "EN", "es_MX.UTF-8", "iw-IL", "he", "fr-CA", "de", "ar-EG"];
    let found: Vec<_> = codes.iter().map(|code| Language::from_code(code).map_or("none", Language::code)).collect();
    assert_eq!(found, ["en", "en", "es", "he", "he", "fr", "de", "ar"]);
    for code in ["", "eng", "e", "xx", "-en", "english"] {
        assert_eq!(Language::from_code(code), None, "{code}");
    }
}

#[test]
fn a_mask_hides_what_no_list_has() {
    let english = [Language::ENGLISH];
    assert_eq!(mask("Goodbye, Jonathan O'Neill, room 1207.", &english), "Goodbye, xxxxxxxx x'xxxxx, xxxx 0000.");
    assert_eq!(mask("José pays €3.50 to Mr. B. Goodbye?", &english), "xxxx xxxx €0.00 to Mr. x. Goodbye?");
    assert_eq!(mask("", &english), "");
    let pointed = "יִשְׂרָאֵל";
    let expected = format!("{}, ולהתראות", "x".repeat(pointed.chars().count()));
    assert_eq!(mask(&format!("{pointed}, ולהתראות"), &[Language::HEBREW]), expected);
}

const SOURCES: [&str; 6] = [
    include_str!("../data/farewell/en.txt"),
    include_str!("../data/farewell/he.txt"),
    include_str!("../data/farewell/es.txt"),
    include_str!("../data/farewell/de.txt"),
    include_str!("../data/farewell/fr.txt"),
    include_str!("../data/farewell/ar.txt"),
];

/// The words of the lists, as they are spelt there.
fn listed_words() -> Vec<&'static str> {
    let lines = SOURCES.iter().flat_map(|source| source.lines()).filter(|line| !line.starts_with(['#', '[']));
    let words: BTreeSet<_> =
        lines.flat_map(|line| line.split([' ', '/', '?'])).filter(|word| !word.is_empty()).collect();
    words.into_iter().collect()
}

#[test]
fn no_listed_word_looks_masked() {
    for word in listed_words() {
        assert!(!word.chars().all(|c| c == 'x' || c == '0'), "{word}");
    }
}

/// Lines of the lists as they stand, so that whole phrases occur, among listed and other words and punctuation.
fn mixtures() -> impl Strategy<Value = String> {
    let lines: Vec<&str> =
        SOURCES.iter().flat_map(|source| source.lines()).filter(|line| !line.starts_with('[')).collect();
    let phrases = prop::sample::select(lines).prop_map(|line| {
        let slots =
            line.split_whitespace().map(|slot| slot.trim_end_matches('?').split('/').next().unwrap_or_default());
        slots.collect::<Vec<_>>().join(" ")
    });
    const COMMON: &[&str] =
        &["bye", "goodbye", "ולהתראות", "adiós", "tschüss", "au revoir", "مع السلامة", "yeah", "okay", "thanks"];
    const OTHERS: &[&str] = &[
        "Jonathan",
        "x",
        "B",
        "12",
        "3.5",
        "José",
        "O’Neill",
        "שָׁלוֹם",
        "دراجة",
        "naïve",
        "İ",
        "a\u{301}",
        "½",
        "日本",
        "🤷‍♀️",
        "ﬁ",
    ];
    const BETWEEN: &[&str] = &[
        " ", " ", " ", ", ", ". ", ".", "! ", "? ", "?!", "… ", "... ", " – ", "-", "'", "’", "\"", "\n", "؟ ",
        "\u{301}", "\u{5b0}",
    ];
    let piece = prop_oneof![
        3 => phrases,
        3 => prop::sample::select(COMMON).prop_map(String::from),
        2 => prop::sample::select(listed_words()).prop_map(String::from),
        3 => prop::sample::select(OTHERS).prop_map(String::from),
        1 => "\\PC{0,6}",
    ];
    let pieces = prop::collection::vec((piece, prop::sample::select(BETWEEN)), 0..9);
    pieces.prop_map(|pieces| pieces.into_iter().flat_map(|(piece, between)| [piece, between.to_owned()]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn h9_a_mask_changes_no_answer(text in mixtures(), languages in prop::sample::subsequence(&Language::ALL[..], 0..=6)) {
        let masked = mask(&text, &languages);
        prop_assert_eq!(masked.chars().count(), text.chars().count());
        prop_assert_eq!(says_farewell(&masked, &languages), says_farewell(&text, &languages), "{}", masked);
        prop_assert_eq!(is_only_farewell(&masked, &languages), is_only_farewell(&text, &languages), "{}", masked);
        prop_assert_eq!(is_back_channel(&masked, &languages), is_back_channel(&text, &languages), "{}", masked);
        prop_assert_eq!(mask(&masked, &languages), masked);
    }
}
