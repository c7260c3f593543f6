use proptest::prelude::*;

use super::*;

fn verdicts(text: &str) -> Vec<Option<bool>> {
    check(text).equations.iter().map(|e| e.holds).collect()
}

/// Equations that hold, or are none: none may be flagged.
const FINE: &[&str] = &[
    "3 + 4 = 7",
    "So 3 + 4 = 7 apples.",
    "16 - 3 - 4 = 9 eggs * $2 per egg = $18",
    "x = 3, y = 4",
    "The total is x + 3 = 9",
    "2x + 3 = 7",
    "On 2024-05-13 = Monday",
    "versions 1.2.3 = 1.2.4",
    "1/3 = 0.33",
    "10 / 3 = 3.33",
    "10 / 3 = 3",
    "7 / 2 = 4 buses",
    "3.33 * 3 = 10",
    "20% of 50 = 10",
    "50 * 20% = 10",
    "100% - 20% = 80%",
    "(30/120) * 100 = 25%",
    "30/120 = 25%",
    "80 - 25% = 60",
    "1,000 + 500 = 1,500",
    "1.000 + 500 = 1.500",
    "2,5 + 3 = 5,5",
    "1{,}000 \\times 3 = 3{,}000",
    "\\[ 3 \\times 4 = 12 \\]",
    "\\( \\frac{1}{2} \\times 10 = 5 \\)",
    "\\frac{3}{4} \\cdot 20 = 15 \\text{ apples}",
    "2 1/2 + 1 = 3.5",
    "2½ * 2 = 5",
    "3 + 4 = 7 + 5 = 12",
    "2(3 + 4) = 14",
    "37 (Raymond's current age) - 23 (age when his son was born) = 14 years ago.",
    "Week 1 - 5 apples + 3 apples = 8 apples",
    "- 3 + 4 = 7",
    "* 3 + 4 = 7",
    "1. 3 + 4 = 7\n2. 10 - 2 = 8",
    "1) 3 + 4 = 7",
    "Ages 5-10 = $3",
    "9-5 = 8 hours",
    "1/4 = $250",
    "17 mod 5 = 2",
    "17 % 5 = 2",
    "7 // 2 = 3",
    "0.1 + 0.2 = 0.30000000000000004",
    "'1' + '2' = '12'",
    "`1 + 1 = 3`",
    "2^10 = 1024",
    "2**10 = 1024",
    "**3** + **4** = **7**",
    "3² + 4² = 25",
    "5! / 3! = 20",
    "1 + 2 + ... + 10 = 55",
    "C(5, 2) + 1 = 11",
    "sqrt(16) + 1 = 5",
    "\\sqrt{16} + 1 = 5",
    "√16 + 1 = 5",
    "half of 20 + 5 = 15",
    "the product of 3 and 4 + 2 = 14",
    "2 dozen + 3 = 27",
    "2 million + 3 million = 5 million",
    "twice 5 + 3 = 13",
    "5 feet 8 inches + 3 inches = 5 feet 11 inches",
    "1 hour 30 minutes + 45 minutes = 2 hours 15 minutes",
    "10:30 + 2 = 12:30",
    "2 * 3 feet = 72 inches",
    "Some wrongly think 2 + 2 = 5.",
    "It is not true that 2 + 2 = 5.",
    "Is 2 + 2 = 5?",
    "5 chairs + 3 tables = 200 dollars",
    "|-3| + 2 = 5",
    "|x| + 2 * 3 = 9",
    "3 + 4\n= 7\n= 14 / 2",
    "3 + 4 &= 7 \\\\ 10 - 2 &= 8",
    "9 * $2 = $<<9*2=18>>18",
    "H2 + O2 = 2 H2O",
    "a == 3 + 4 = 8",
    "if (x += 3 + 4 = 8)",
    "$20 + $4.50 = $24.50",
    "€1.090 + €157 = €1.247",
    "5 × 7 = 35",
    "10 – 3 = 7",
    "10 − 3 = 7",
    "12 ÷ 4 = 3",
    "5 times 3 = 15",
    "5 x 3 = 15",
    "5x3=15",
    "5 * -3 = -15",
    "-3 + 5 = 2",
    "the result is -3 + 5 = 2",
    "3个苹果 + 4个苹果 = 7个苹果",
    "3 Äpfel + 4 Äpfel = 7 Äpfel",
    "12-mile trail - 4 miles = 8 miles",
    "60 mph x 3 hours = 180 miles",
    "60 miles/hour * 2 hours = 120 miles",
    "3 * 4 = 12 (since 4 + 4 + 4 = 12)",
    "In 2022, 5 + 3 = 8.",
    "(16 - 4 = 12)",
    "$30,000 * 1.3 = $39,000",
    "25 cents * 4 = $1",
    "10 - 2 = 8, so 8 / 2 = 4",
    "8 * 5 = 40 and 40 + 2 = 42",
    "100 / 7 ≈ 14.3",
    "100 / 7 is approximately 14.3",
    "22 / 7 = about 3.14",
    "1e3 + 1 = 1001",
    "0x10 + 1 = 17",
    "101 + 1 = 110 in binary",
    "A1 + B2 = 5",
    "3 - 2 = win",
    "20% * 50 + 5 = 15",
    "5 + 3 - so in total = 9",
    "COVID-19 + 1 = 21",
    "3 × 40 cents = $1.20",
    "20 × 45 = $9.00",
    "(3) gives us -30 / 3 = -10 degrees",
    "The price of 2 monitors ÷ 2 = $600 ÷ 2",
    "1600 calories / 200 calories/100 ml = 800 ml",
    "50 min + 2 hours + 10 min = 3 hours",
    "12.8 / (1 - 3/5) = 12.8 / 2/5 = 32",
    "4 cups / 1/6 cup/lemon = 4 * 6",
    "",
    "=",
    "= = =",
    "3 + = 4",
    "+ 3 = 4",
];

const WRONG: &[&str] = &[
    "3 + 4 = 8",
    "So, in total, 3 + 4 = 8 apples.",
    "16 - 3 - 4 = 8 eggs.",
    "9 eggs * $2 per egg = $21",
    "20% of 50 = 15",
    "10 / 3 = 3.43",
    "10 / 5 = 3",
    "(12 / 20) x 100 = 55%",
    "\\[ 3 \\times 4 = 13 \\]",
    "\\frac{1}{2} \\times 10 = 6",
    "2(3 + 4) = 15",
    "1,000 + 500 = 1,600",
    "2.5 * 4 = 11",
    "-3 + 5 = 3",
    "12 - 5 - 3 = 5",
    "5 × 7 = 36",
    "37 (age now) - 23 (age then) = 15 years",
    "$24.50 - $4.25 = $20.50",
    "**3** + **4** = **8**",
    "3 + 4\n= 8",
    "Step 1: 3 + 4 = 8",
    "- 3 + 4 = 8",
    "1. 30 + 4 = 35",
    "8 * 5 = 40 and 40 + 2 = 43",
    "the sum of 3 + 4 = 9",
    "1/2 + 1/3 = 2/5",
    "5 times 3 = 16",
    "3 Äpfel + 4 Äpfel = 8 Äpfel",
    "3个苹果 + 4个苹果 = 8个苹果",
    "100 / 7 ≈ 16",
    "<<5*75+120=675>>",
    "60 mph x 3 hours = 190 miles",
    "7 * 7 = 49 - 10 = 38",
];

#[test]
fn never_flags_what_holds_or_is_no_equation() {
    for text in FINE {
        let result = check(text);
        assert_eq!(result.wrong, 0, "{text}: {:?}", result.first_wrong);
    }
}

#[test]
fn flags_what_is_wrong() {
    for text in WRONG {
        assert!(check(text).wrong > 0, "{text}: {:?}", check(text).equations);
    }
}

#[test]
fn says_what_the_sides_come_to() {
    let wrong = check("First 2 + 2 = 4, then 12 * 12 = 154.")
        .first_wrong
        .unwrap();
    assert_eq!(wrong.left, Rational::integer(144));
    assert_eq!(wrong.right, Rational::integer(154));
    assert_eq!(verdicts("2 + 2 = 4, 3 * 3 = 9"), [Some(true), Some(true)]);
}

/// A random expression over whole numbers: its text, and its value worked out on the tree.
fn expression() -> impl Strategy<Value = (String, Rational, u8)> {
    let leaf = (1_i128..400).prop_map(|value| (value.to_string(), Rational::integer(value), 9));
    leaf.prop_recursive(4, 12, 2, |inner| {
        (inner.clone(), 0..4_usize, inner).prop_filter_map("fits", |(left, operator, right)| {
            let wrap = |side: &(String, Rational, u8), least: u8| {
                if side.2 < least {
                    format!("({})", side.0)
                } else {
                    side.0.clone()
                }
            };
            let (sign, strength, value) = match operator {
                0 => ("+", 1, left.1.plus(right.1)?),
                1 => ("-", 1, left.1.minus(right.1)?),
                2 => ("*", 2, left.1.times(right.1)?),
                _ => ("/", 2, left.1.divided_by(right.1)?),
            };
            let text = format!(
                "{} {sign} {}",
                wrap(&left, strength),
                wrap(&right, strength + 1)
            );
            Some((text, value, strength))
        })
    })
    .prop_filter("has an operation", |(text, ..)| text.contains(' '))
    .prop_filter("is a whole number", |(_, value, _)| {
        value
            .to_integer()
            .is_some_and(|whole| (0..1_000_000_000).contains(&whole))
    })
}

proptest! {
    #[test]
    fn an_equation_that_holds_is_never_flagged((text, value, _) in expression()) {
        let sentence = format!("So we get {text} = {}.", value.to_text());
        let found = check(&sentence);
        prop_assert_eq!((found.found, found.wrong), (1, 0), "{}", sentence);
        prop_assert_eq!(found.equations[0].left, value);
    }

    #[test]
    fn an_equation_that_does_not_hold_is_flagged((text, value, _) in expression(), off in 2_i128..50) {
        // A difference of labels (`1 - 5 + 3`) and fractions of a part (`1/4 = 250`) are let pass.
        prop_assume!(!text.starts_with(|c: char| c.is_ascii_digit()) || !text[..text.len().min(9)].contains('-'));
        let wrong = value.plus(Rational::integer(off)).unwrap();
        let sentence = format!("So we get {text} = {}.", wrong.to_text());
        prop_assert_eq!(check(&sentence).wrong, 1, "{}", sentence);
    }
}
