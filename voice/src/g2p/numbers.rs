//! Numbers as English words, without "and": "two hundred five".

/// Each at the place of its value.
pub const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
/// Each at the place of a tenth of its value.
pub const TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(u64, &str); 6] = [
    (1_000_000_000_000_000_000, "quintillion"),
    (1_000_000_000_000_000, "quadrillion"),
    (1_000_000_000_000, "trillion"),
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
];

pub type Words = Vec<String>;

pub fn cardinal(number: u64) -> Words {
    let mut words = Vec::new();
    let mut rest = number;
    for (scale, name) in SCALES {
        if rest >= scale {
            below_thousand(rest / scale, &mut words);
            words.push(name.to_owned());
            rest %= scale;
        }
    }
    if rest > 0 || number == 0 {
        below_thousand(rest, &mut words);
    }
    words
}

fn below_thousand(mut number: u64, words: &mut Words) {
    if number >= 100 {
        words.push(ONES[(number / 100) as usize].to_owned());
        words.push("hundred".to_owned());
        number %= 100;
        if number == 0 {
            return;
        }
    }
    if number >= 20 {
        words.push(TENS[(number / 10) as usize].to_owned());
        number %= 10;
        if number == 0 {
            return;
        }
    }
    words.push(ONES[number as usize].to_owned());
}

/// "twenty third".
pub fn ordinal(number: u64) -> Words {
    let mut words = cardinal(number);
    if let Some(last) = words.last_mut() {
        *last = match last.as_str() {
            "one" => "first".to_owned(),
            "two" => "second".to_owned(),
            "three" => "third".to_owned(),
            "five" => "fifth".to_owned(),
            "eight" => "eighth".to_owned(),
            "nine" => "ninth".to_owned(),
            "twelve" => "twelfth".to_owned(),
            other => match other.strip_suffix('y') {
                Some(tens) => format!("{tens}ieth"),
                None => format!("{other}th"),
            },
        };
    }
    words
}

/// Four digits as a year is said: "nineteen oh five", "two thousand five", "twenty twenty six".
pub fn year(number: u64) -> Words {
    let (century, within) = (number / 100, number % 100);
    if century == 0 || century >= 100 || (century.is_multiple_of(10) && within < 10) {
        return cardinal(number);
    }
    let mut words = cardinal(century);
    match within {
        0 => words.push("hundred".to_owned()),
        1..10 => words.extend(["oh".to_owned(), ONES[within as usize].to_owned()]),
        _ => words.extend(cardinal(within)),
    }
    words
}

/// Each digit by itself. What is no digit is passed over.
pub fn digits(text: &str) -> Words {
    text.chars().filter_map(|digit| digit.to_digit(10)).map(|digit| ONES[digit as usize].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said() {
        let said = |words: Words| words.join(" ");
        for (number, words) in [
            (0, "zero"),
            (13, "thirteen"),
            (40, "forty"),
            (99, "ninety nine"),
            (100, "one hundred"),
            (1_205, "one thousand two hundred five"),
            (1_000_000, "one million"),
            (21_000_007, "twenty one million seven"),
        ] {
            assert_eq!(said(cardinal(number)), words);
        }
        for (number, words) in
            [(1, "first"), (12, "twelfth"), (20, "twentieth"), (23, "twenty third"), (100, "one hundredth")]
        {
            assert_eq!(said(ordinal(number)), words);
        }
        for (number, words) in [
            (1905, "nineteen oh five"),
            (2000, "two thousand"),
            (2005, "two thousand five"),
            (2026, "twenty twenty six"),
            (1900, "nineteen hundred"),
        ] {
            assert_eq!(said(year(number)), words);
        }
        assert_eq!(said(digits("40-2")), "four zero two");
        assert_eq!(said(cardinal(u64::MAX)).split(' ').next(), Some("eighteen"));
    }
}
