//! Rules against a slow, obvious implementation, and at the edges.

use proptest::prelude::*;

use super::fold::{Folded, fold};
use super::matcher::{in_place, on_boundaries, read};
use super::rule::{Place, Ramp, Rule, RuleError};
use super::*;

fn rule(name: &str, patterns: &[&str], weights: &[(usize, f64)]) -> Rule {
    Rule {
        name: name.to_owned(),
        patterns: patterns.iter().map(|&text| text.to_owned()).collect(),
        weights: weights.to_vec(),
        least: 1,
        ..Rule::default()
    }
}

fn ready(rules: Vec<Rule>) -> DomainRules {
    DomainRules::new(rules, vec![0.0; 3], 1.0).unwrap()
}

fn fired(rules: Vec<Rule>, text: &str) -> Vec<(usize, f64)> {
    ready(rules).judge(text).fired
}

/// Whether a pattern stands anywhere in its place, by trying every character.
fn stands(folded: &Folded, pattern: &str, place: Place) -> bool {
    let (text, before, behind) = read(pattern);
    let phrase = super::matcher::Phrase {
        rule: 0,
        place,
        before,
        behind,
    };
    folded.text.char_indices().any(|(start, _)| {
        folded.text[start..].starts_with(&text)
            && on_boundaries(&folded.text, start, start + text.len(), &phrase)
            && in_place(folded, start, place)
    })
}

/// What rules find, by their definition.
fn slowly(rules: &[Rule], text: &str) -> Vec<(usize, f64)> {
    let folded = fold(text);
    let features = Structure::of(text).features();
    let alone = |rule: &Rule| {
        if let Some(ramp) = &rule.ramp {
            return ramp.of(features[ramp.feature]);
        }
        let mut texts: Vec<String> = Vec::new();
        for pattern in &rule.patterns {
            if stands(&folded, pattern, rule.place) && !texts.contains(&read(pattern).0) {
                texts.push(read(pattern).0);
            }
        }
        if texts.is_empty() || texts.len() < rule.least as usize {
            return 0.0;
        }
        // 1, a half more, a quarter more …
        texts
            .iter()
            .fold((0.0, 1.0), |(sum, next), _| (sum + next, next / 2.0))
            .0
    };
    let mut found = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let needed = rule.requires.iter().map(|&other| alone(&rules[other]));
        let lowest = needed.fold(1.0, f64::min);
        let ruled_out = rule.unless.iter().any(|&other| alone(&rules[other]) > 0.0);
        let mut value = alone(rule);
        if rule.patterns.is_empty() && rule.ramp.is_none() {
            value = lowest;
        }
        if !ruled_out && lowest > 0.0 && value > 0.0 {
            found.push((at, value));
        }
    }
    let diluted = found.iter().filter(|&&(at, _)| rules[at].diluted).count();
    for (at, value) in &mut found {
        if rules[*at].diluted && diluted > 12 {
            *value *= (12.0 / f64::from(u32::try_from(diluted).unwrap())).sqrt();
        }
    }
    found
}

fn close(fast: &[(usize, f64)], slow: &[(usize, f64)]) -> bool {
    let near = |(a, b): (&(usize, f64), &(usize, f64))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9;
    fast.len() == slow.len() && fast.iter().zip(slow).all(near)
}

fn a_place() -> impl Strategy<Value = Place> {
    let within = || prop::option::weighted(0.3, 1_u32..4);
    (within(), within(), prop::bool::weighted(0.2)).prop_map(|(first, last, line)| Place {
        first,
        last,
        line,
    })
}

/// Phrases and texts of few letters, so that they meet; with marks, scripts without spaces, lines.
const PHRASE: &str = "[abÉ東]{1,3}( [ab]{1,2})?\\*?|[ab]'[ab]|b_a|[?#%]";
const TEXT: &str = "([abAéE\u{301}東京 '?#%_\u{200B}\n]{0,4} ?){0,12}";

fn a_rule() -> impl Strategy<Value = Rule> {
    let patterns = prop::collection::vec(PHRASE, 0..4);
    let ramp = prop::option::weighted(0.2, (0..COUNT, 0.0..0.5, 0.0..1.0));
    (patterns, a_place(), 0_u32..3, ramp, any::<bool>()).prop_map(
        |(patterns, place, least, ramp, diluted)| Rule {
            ramp: ramp
                .filter(|_| patterns.is_empty())
                .map(|(feature, from, to)| Ramp { feature, from, to }),
            patterns,
            place,
            least,
            diluted,
            ..Rule::default()
        },
    )
}

/// Rules that stand by themselves, then some that depend on them.
fn some_rules() -> impl Strategy<Value = Vec<Rule>> {
    let alone = prop::collection::vec(a_rule(), 1..24);
    let conditions = prop::collection::vec((a_rule(), 0_usize..24, 0_usize..24), 0..5);
    (alone, conditions).prop_map(|(mut rules, conditions)| {
        rules.retain(|rule| !rule.patterns.is_empty() || rule.ramp.is_some());
        let free = rules.len();
        if free > 0 {
            for (mut rule, needed, excluded) in conditions {
                rule.requires = vec![needed % free];
                rule.unless = vec![excluded % free];
                rules.push(rule);
            }
        }
        for (at, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("rule {at}");
            rule.weights = vec![(at % 3, 1.0)];
        }
        rules
    })
}

proptest! {
    #[test]
    fn the_fast_matcher_finds_what_the_slow_one_finds(rules in some_rules(), text in TEXT) {
        let slow = slowly(&rules, &text);
        let fast = fired(rules, &text);
        prop_assert!(close(&fast, &slow), "{fast:?} {slow:?}");
    }

    #[test]
    fn probabilities_add_up_to_one_whatever_the_text(rules in some_rules(), text in any::<String>()) {
        let judgement = ready(rules).judge(&text);
        prop_assert!((judgement.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        prop_assert!(judgement.features.iter().all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn the_parts_that_are_shown_are_the_heaviest(rules in some_rules(), text in TEXT, most in 0_usize..6) {
        let rules = ready(rules);
        let judgement = rules.judge(&text);
        let (all, some) = (rules.parts(&judgement, usize::MAX), rules.parts(&judgement, most));
        prop_assert_eq!(&all[..some.len()], &some[..]);
        prop_assert_eq!(some.len(), all.len().min(most));
    }
}

#[test]
fn words_are_whole_unless_a_star_opens_them() {
    let rules = || vec![rule("cat", &["cat"], &[]), rule("cats", &["cat*"], &[])];
    assert_eq!(fired(rules(), "A CAT."), [(0, 1.0), (1, 1.0)]);
    assert_eq!(fired(rules(), "cathedral"), [(1, 1.0)]);
    assert_eq!(fired(rules(), "concat cat_1 0cat"), [(1, 1.0)]);
}

#[test]
fn each_further_phrase_counts_half_of_the_one_before() {
    let rules = || vec![rule("fruit", &["apple", "pear", "plum"], &[])];
    assert_eq!(fired(rules(), "apple apple APPLE"), [(0, 1.0)]);
    assert_eq!(fired(rules(), "apple pear"), [(0, 1.5)]);
    assert_eq!(fired(rules(), "plum apple pear"), [(0, 1.75)]);
}

#[test]
fn of_forty_eight_diluted_rules_each_counts_half() {
    let names: Vec<String> = (0..48).map(|at| format!("w{at}x")).collect();
    let of = |count: usize| {
        let diluted = |name: &String| Rule {
            diluted: true,
            ..rule(name, &[name], &[])
        };
        fired(
            names.iter().map(diluted).collect(),
            &names[..count].join(" "),
        )
    };
    assert!(of(12).iter().all(|&(_, value)| (value - 1.0).abs() < 1e-12));
    assert!(of(48).iter().all(|&(_, value)| (value - 0.5).abs() < 1e-12));
}

#[test]
fn what_is_no_rule_is_refused_by_its_name() {
    let refused = |rules: Vec<Rule>| DomainRules::new(rules, vec![0.0], 1.0).unwrap_err();
    let twice = vec![rule("a", &["x"], &[]), rule("a", &["y"], &[])];
    assert_eq!(refused(twice), RuleError::Twice("a".to_owned()));
    assert_eq!(
        refused(vec![rule("a", &[], &[])]),
        RuleError::Nothing("a".to_owned())
    );
    let empty = RuleError::Empty {
        rule: "a".to_owned(),
        pattern: "\u{200B}".to_owned(),
    };
    assert_eq!(refused(vec![rule("a", &["\u{200B}"], &[])]), empty);
    let long = "x".repeat(201);
    assert!(matches!(
        refused(vec![rule("a", &[&long], &[])]),
        RuleError::Long { bytes: 201, .. }
    ));
    let unknown = refused(vec![rule("a", &["x"], &[(1, 1.0)])]);
    assert_eq!(
        unknown,
        RuleError::Unknown {
            rule: "a".to_owned(),
            what: "domain"
        }
    );
    assert!(matches!(
        refused(vec![rule("a", &["x"], &[(0, f64::NAN)])]),
        RuleError::NotFinite { .. }
    ));
    let chained = |requires| Rule {
        requires: vec![requires],
        ..rule("", &["x"], &[])
    };
    let mut chain = vec![rule("a", &["x"], &[]), chained(0), chained(1)];
    chain[1].name = "b".to_owned();
    chain[2].name = "c".to_owned();
    let chained = RuleError::Chained {
        rule: "c".to_owned(),
        other: "b".to_owned(),
    };
    assert_eq!(refused(chain), chained);
    assert!(DomainRules::new(Vec::new(), vec![0.0], 0.0).is_err());
    assert!(DomainRules::new(Vec::new(), Vec::new(), 1.0).is_err());
}

#[test]
fn a_megabyte_is_judged_by_its_ends_and_costs_no_more_than_they_do() {
    let patterns = ["a", "a a", "a a a", "aa*", "b", "first", "last", "middle"];
    let rules = ready(
        patterns
            .iter()
            .map(|text| rule(text, &[text], &[]))
            .collect(),
    );
    for filling in [
        "a ", "a", "a\n", "東", "\u{301}", "{[(", "🙂", "é", "\"", "1,",
    ] {
        let half = filling.repeat((1 << 19) / filling.len());
        let text = ["first ", &half, " middle ", &half, " last"].concat();
        let (judgement, work) = rules.judge_counted(&text);
        let found: Vec<usize> = judgement.fired.iter().map(|&(rule, _)| rule).collect();
        assert!(
            found.contains(&5) && found.contains(&6) && !found.contains(&7),
            "{filling:?}"
        );
        // At most every pattern at every byte that is looked at.
        assert!(work <= patterns.len() * (HEAD + TAIL + 1), "{work}");
    }
}

#[test]
fn an_excerpt_never_cuts_a_character() {
    for shift in 0..4 {
        let text = ["x".repeat(shift), "🙂".repeat(10_000)].concat();
        let cut = excerpt(&text);
        assert!(cut.len() <= HEAD + TAIL + 1);
        assert!(cut.starts_with(&text[..shift + 4]) && cut.ends_with('🙂'));
    }
    assert!(matches!(excerpt("short"), Cow::Borrowed("short")));
}
