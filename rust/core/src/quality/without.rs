//! Judging with some checks off: what they found no longer counts.

use super::check::Check;
use super::combine;
use super::features::NAMES;
use super::{CHECKS, Judgement};

/// Checks whose measure has another name.
const MEASURED_AS: [(&str, &str); 7] = [
    ("arithmetic", "wrong_arithmetic"),
    ("final_answer", "final_unsupported"),
    ("numbers", "impossible_count"),
    ("topic", "off_topic"),
    ("language", "wrong_language"),
    ("units", "wrong_units"),
    ("code", "broken_code"),
];

/// The check that cannot be off: of nothing, nothing can be judged.
const ALWAYS: &str = "empty";

/// The checks that can be off.
pub fn optional() -> impl Iterator<Item = &'static str> {
    CHECKS.into_iter().filter(|name| *name != ALWAYS)
}

impl Judgement {
    /// The judgement without what some checks found; names of others change nothing.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        for check in &mut self.checks {
            if check.name == ALWAYS || !names.contains(&check.name) {
                continue;
            }
            let measure = MEASURED_AS
                .iter()
                .find(|(name, _)| *name == check.name)
                .map_or(check.name, |(_, measure)| measure);
            if let Some(place) = NAMES.iter().position(|name| *name == measure) {
                self.features[place] = 0.0;
            }
            *check = Check::not_applicable(check.name);
        }
        self.rejected = self.checks.iter().any(|check| check.hard);
        self.probability = combine::probability(&self.features, self.rejected);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::format::ResponseFormat;
    use super::super::truncated::Finish;
    use super::super::{Draft, Judgement, judge};
    use super::*;

    fn judged(question: &str, answer: &str) -> Judgement {
        judge(&Draft {
            question,
            instructions: "",
            answer,
            finish: Finish::Stop,
            refusal: None,
            format: ResponseFormat::Text,
            calls_tools: false,
            has_reasoning: false,
        })
    }

    #[test]
    fn every_check_that_can_be_off_has_its_measure_or_is_hard() {
        let unmeasured: Vec<&str> = optional()
            .filter(|check| {
                let measure = MEASURED_AS.iter().find(|(name, _)| name == check);
                !NAMES.contains(&measure.map_or(*check, |(_, measure)| measure))
            })
            .collect();
        assert_eq!(unmeasured, ["echo"], "an echo rejects outright");
    }

    #[test]
    fn what_is_off_neither_fails_nor_counts() {
        let cases = [
            ("What is 12 * 12?", "12 * 12 = 154", "arithmetic"),
            (
                "What is the capital of Peru?",
                "I'm sorry, but I can't help with that.",
                "refusal",
            ),
            (
                "Tell me about the capital of Peru.",
                "Tell me about the capital of Peru.",
                "echo",
            ),
        ];
        for (question, answer, name) in cases {
            let whole = judged(question, answer);
            let found = |judgement: &Judgement| {
                judgement
                    .checks
                    .iter()
                    .find(|check| check.name == name)
                    .map(|check| check.verdict)
            };
            assert_eq!(found(&whole), Some(Verdict::Failed), "{name}");
            let before = whole.probability;
            let off = whole.without(&[name]);
            assert_eq!(found(&off), Some(Verdict::NotApplicable), "{name}");
            assert!(off.probability > before + 0.2 && !off.rejected, "{name}");
        }
    }

    #[test]
    fn nothing_at_all_stays_rejected() {
        let off = judged("Hello?", " ").without(&CHECKS);
        assert!(off.rejected && off.probability <= combine::REJECTED);
    }

    proptest::proptest! {
        #[test]
        fn with_none_off_nothing_changes(answer in ".{0,200}") {
            let whole = judged("How many are 3 and 4?", &answer);
            let (probability, rejected) = (whole.probability, whole.rejected);
            let same = whole.without(&[]);
            proptest::prop_assert!((same.probability - probability).abs() < 1e-12);
            proptest::prop_assert_eq!(same.rejected, rejected);
        }
    }
}
