//! What a rule says of an answer.

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was found.
    Passed,
    /// Something is wrong.
    Failed,
    /// The check has nothing to say about this answer.
    NotApplicable,
}

/// One check of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The check's name.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// 0 (surely bad) to 1 (nothing found).
    pub score: f64,
    /// Why, with the offending snippet; empty when nothing was found.
    pub reason: String,
    /// Whether it rejects the answer whatever the other checks say.
    pub hard: bool,
}

impl Check {
    /// Nothing was found.
    #[must_use]
    pub fn passed(name: &'static str) -> Self {
        Self {
            name,
            verdict: Verdict::Passed,
            score: 1.0,
            reason: String::new(),
            hard: false,
        }
    }

    /// The check has nothing to say.
    #[must_use]
    pub fn not_applicable(name: &'static str) -> Self {
        Self {
            verdict: Verdict::NotApplicable,
            ..Self::passed(name)
        }
    }

    /// Something was found; a score under one half fails.
    #[must_use]
    pub fn found(name: &'static str, score: f64, reason: String) -> Self {
        Self {
            name,
            verdict: if score < 0.5 {
                Verdict::Failed
            } else {
                Verdict::Passed
            },
            score,
            reason,
            hard: false,
        }
    }

    /// The answer is unfit, whatever the other checks say.
    #[must_use]
    pub fn hard(name: &'static str, reason: String) -> Self {
        Self {
            hard: true,
            ..Self::found(name, 0.0, reason)
        }
    }

    /// How bad it is, 0 to 1.
    #[must_use]
    pub fn badness(&self) -> f64 {
        1.0 - self.score
    }
}
