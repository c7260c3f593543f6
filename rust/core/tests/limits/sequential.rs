//! Used by one thread, it does what the slow and obvious one does: whatever comes, and when.

use cascadeflow_core::limits::{Limits, Permit, Policy, RateLimiter, Refusal, Standing};
use proptest::prelude::*;

use super::model;
use super::{DAY, HOUR, MINUTE, SECOND, acquire};

const NAMES: [&str; 4] = ["user:a", "user:b", "tier:free", "global"];

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        /// Accounts in some order, and which of the policies each has.
        accounts: Vec<(usize, usize)>,
        tokens: u64,
    },
    Wait(u64),
    /// The clock goes back.
    Back(u64),
    /// To when the last refusal said that it would pass, or a nanosecond before.
    Retry {
        early: bool,
    },
    Extend(prop::sample::Index, u64),
    Correct(prop::sample::Index, u64),
    Cancel(prop::sample::Index),
    Release(prop::sample::Index),
    Drop(prop::sample::Index),
    Evict,
}

fn rate() -> impl Strategy<Value = Option<(u64, u64)>> {
    prop_oneof![
        3 => Just(None),
        4 => (0..8_u64, 0..6_u64).prop_map(Some),
        1 => (prop::sample::select(vec![7, 1_000, 999_999_937, 1_000_000_000]), 0..4_u64)
            .prop_map(Some),
    ]
}

fn log() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        3 => Just(None),
        4 => (0..6_u64).prop_map(Some),
        1 => prop::sample::select(vec![119, 120, 121, 130, 1_000_000]).prop_map(Some),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        rate(),
        rate(),
        log(),
        log(),
        prop::option::of(0..40_u64),
        prop::option::weighted(0.3, 0..5_u64),
    )
        .prop_map(
            |(per_second, per_minute, per_hour, per_day, tokens_per_minute, concurrent)| Limits {
                per_second,
                per_minute,
                per_hour,
                per_day,
                tokens_per_minute,
                concurrent,
            },
        )
}

fn duration() -> impl Strategy<Value = u64> {
    let near = |span: u64| (0..3_u64).prop_map(move |more| span - 1 + more);
    prop_oneof![
        2 => 0..3_u64,
        2 => 0..SECOND,
        2 => (0..50_u64).prop_map(|tenths| tenths * SECOND / 10),
        1 => near(SECOND),
        1 => (0..120_u64).prop_map(|seconds| seconds * SECOND),
        1 => near(MINUTE),
        1 => near(30 * SECOND),
        1 => near(720 * SECOND),
        1 => near(HOUR),
        1 => near(DAY),
        1 => 0..2 * DAY,
    ]
}

fn step(policies: usize) -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let accounts = Just((0..NAMES.len()).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(move |names| {
            (
                1..=NAMES.len(),
                prop::collection::vec(0..policies, NAMES.len()),
            )
                .prop_map(move |(count, policies)| {
                    names.iter().copied().zip(policies).take(count).collect()
                })
        });
    prop_oneof![
        12 => (accounts, 0..15_u64)
            .prop_map(|(accounts, tokens)| Step::Acquire { accounts, tokens }),
        6 => duration().prop_map(Step::Wait),
        1 => duration().prop_map(Step::Back),
        4 => any::<bool>().prop_map(|early| Step::Retry { early }),
        2 => (index(), 0..15_u64).prop_map(|(index, tokens)| Step::Extend(index, tokens)),
        3 => (index(), 0..60_u64).prop_map(|(index, tokens)| Step::Correct(index, tokens)),
        1 => index().prop_map(Step::Cancel),
        1 => index().prop_map(Step::Release),
        1 => index().prop_map(Step::Drop),
        1 => Just(Step::Evict),
    ]
}

/// The limiter and its model, side by side.
struct Pair {
    limiter: RateLimiter,
    model: model::Limiter,
    permits: Vec<(Permit, model::Permit)>,
    now: u64,
    retry: Option<u64>,
}

impl Pair {
    fn acquire(&mut self, accounts: &[(String, Limits)], tokens: u64) {
        let policies: Vec<Policy> = accounts
            .iter()
            .map(|(_, limits)| Policy::new(limits).unwrap())
            .collect();
        let named: Vec<(&str, &Policy)> = accounts
            .iter()
            .zip(&policies)
            .map(|((name, _), policy)| (name.as_str(), policy))
            .collect();
        let refusing = self.model.refusing(accounts, tokens, self.now);
        let expected = self.model.clone();
        match acquire(&self.limiter, &named, tokens, self.now) {
            Ok(permit) => {
                let model = self.model.acquire(accounts, tokens, self.now);
                self.permits
                    .push((permit, model.expect("the model refuses")));
            }
            Err(refusal) => {
                assert!(!refusing.is_empty(), "the model lets it pass: {refusal:?}");
                assert_eq!(refusal.blocked, refusing);
                assert!(refusing.contains(&refusal.account));
                self.check(&refusal, |now| {
                    expected.refusing(accounts, tokens, now).is_empty()
                });
            }
        }
    }

    /// It passes when the refusal says, and not a nanosecond before.
    fn check(&mut self, refusal: &Refusal, passes: impl Fn(u64) -> bool) {
        let never = self.now + 400 * DAY;
        match refusal.retry_ns {
            Some(retry) => {
                assert!(!refusal.permanent && retry > 0);
                assert!(passes(self.now + retry), "{refusal:?}");
                assert!(!passes(self.now + retry - 1), "{refusal:?}");
                self.retry = Some(self.now + retry);
            }
            None => assert!(!passes(never), "{refusal:?}"),
        }
        assert_eq!(
            refusal.permanent,
            refusal.allowed == 0 || refusal.requested > refusal.allowed
        );
    }

    fn extend(&mut self, place: usize, tokens: u64) {
        let (permit, modelled) = &mut self.permits[place];
        let before = (self.model.clone(), modelled.clone());
        let refusal = permit.extend(tokens, self.now).unwrap();
        let passed = self.model.extend(modelled, tokens, self.now);
        assert_eq!(refusal.is_none(), passed, "{refusal:?}");
        if let Some(refusal) = refusal {
            self.check(&refusal, |now| {
                let (mut model, mut permit) = before.clone();
                model.extend(&mut permit, tokens, now)
            });
        }
    }

    fn step(&mut self, step: Step, policies: &[Limits]) {
        let place = |index: prop::sample::Index, permits: &[(Permit, model::Permit)]| {
            (!permits.is_empty()).then(|| index.index(permits.len()))
        };
        match step {
            Step::Acquire { accounts, tokens } => {
                let named: Vec<_> = accounts
                    .iter()
                    .map(|&(name, policy)| (NAMES[name].to_owned(), policies[policy]))
                    .collect();
                self.acquire(&named, tokens);
            }
            Step::Wait(duration) => self.now += duration,
            Step::Back(duration) => self.now = self.now.saturating_sub(duration),
            Step::Retry { early } => {
                if let Some(retry) = self.retry.take() {
                    self.now = self.now.max(retry - u64::from(early));
                }
            }
            Step::Extend(index, tokens) => {
                if let Some(place) = place(index, &self.permits) {
                    self.extend(place, tokens);
                }
            }
            Step::Correct(index, tokens) => {
                if let Some(place) = place(index, &self.permits) {
                    let (permit, modelled) = &mut self.permits[place];
                    permit.correct(tokens, self.now).unwrap();
                    self.model.correct(modelled, tokens, self.now);
                }
            }
            Step::Cancel(index) => {
                if let Some(place) = place(index, &self.permits) {
                    let (permit, modelled) = &mut self.permits[place];
                    permit.cancel(self.now);
                    self.model.cancel(modelled, self.now);
                }
            }
            Step::Release(index) => {
                if let Some(place) = place(index, &self.permits) {
                    let (permit, modelled) = &mut self.permits[place];
                    permit.release();
                    self.model.release(modelled);
                }
            }
            Step::Drop(index) => {
                if let Some(place) = place(index, &self.permits) {
                    let (permit, modelled) = self.permits.swap_remove(place);
                    drop(permit);
                    self.model.dropped(modelled);
                }
            }
            Step::Evict => {
                assert_eq!(self.limiter.evict(self.now), self.model.evict(self.now));
            }
        }
        assert_eq!(self.limiter.len(), self.model.accounts.len());
    }

    /// What stands is what would pass.
    fn check_standings(&self, limits: &Limits) {
        let policy = Policy::new(limits).unwrap();
        for name in NAMES {
            let standings = (self.limiter)
                .standings(&[(name, &policy)], self.now)
                .unwrap();
            for standing in standings {
                self.check_standing(&standing, limits);
            }
        }
    }

    fn check_standing(&self, standing: &Standing, limits: &Limits) {
        let name = &*standing.account;
        let mut only = Limits::default();
        let limit = standing.limit.name();
        match limit {
            "per_second" => only.per_second = limits.per_second,
            "per_minute" => only.per_minute = limits.per_minute,
            "per_hour" => only.per_hour = limits.per_hour,
            "per_day" => only.per_day = limits.per_day,
            _ => {}
        }
        let expected = match limit {
            "tokens_per_minute" => self.model.tokens_left(name, standing.allowed, self.now),
            "concurrent" => standing.allowed.saturating_sub(self.model.leases(name)),
            // Trying takes long.
            _ if standing.allowed > 200 => standing.remaining,
            _ => self.model.remaining(name, &only, self.now),
        };
        assert_eq!(standing.remaining, expected, "{standing:?}");
        if let Some(reset) = standing.reset_ns {
            let unused = |now| self.model.unused(name, limit, now);
            assert!(unused(self.now + reset), "{standing:?}");
            assert!(reset == 0 || !unused(self.now + reset - 1), "{standing:?}");
        } else {
            assert_eq!(limit, "concurrent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn it_admits_exactly_what_the_plain_one_admits(
        policies in prop::collection::vec(limits(), 1..4),
        steps in prop::collection::vec(step(3), 1..80),
        began in prop_oneof![Just(0), 0..100 * DAY],
    ) {
        let mut pair = Pair {
            limiter: RateLimiter::new(),
            model: model::Limiter::default(),
            permits: Vec::new(),
            now: began,
            retry: None,
        };
        let policies: Vec<Limits> = policies.iter().cycle().take(3).copied().collect();
        for step in steps {
            pair.step(step, &policies);
        }
        for limits in &policies {
            pair.check_standings(limits);
        }
        for (permit, modelled) in pair.permits.drain(..) {
            drop(permit);
            pair.model.dropped(modelled);
        }
        // All that was used is over some day.
        prop_assert_eq!(pair.limiter.evict(pair.now + 400 * DAY), pair.model.accounts.len());
        prop_assert!(pair.limiter.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Seen from outside, and without a model: of what passed, no window has too many.
    #[test]
    fn no_window_has_more_than_its_limit(
        limit in 1..12_u64,
        burst in 0..6_u64,
        waits in prop::collection::vec(prop_oneof![
            0..3_u64, 0..SECOND / 3, Just(SECOND / 7), Just(SECOND), 0..40 * SECOND,
            Just(MINUTE), Just(HOUR / 4), Just(HOUR / 4 - 1), 0..6 * HOUR,
        ], 1..200),
    ) {
        let policies = [
            Limits { per_second: Some((limit, burst)), ..Limits::default() },
            Limits { per_minute: Some((limit, burst)), ..Limits::default() },
            Limits { per_hour: Some(limit), ..Limits::default() },
            Limits { per_day: Some(limit), ..Limits::default() },
        ];
        let spans = [SECOND, MINUTE, HOUR, DAY];
        for (limits, span) in policies.iter().zip(spans) {
            let policy = Policy::new(limits).unwrap();
            let limiter = RateLimiter::new();
            let mut now = 0;
            let mut passed: Vec<u64> = Vec::new();
            let burst = if span < HOUR { burst } else { 0 };
            for wait in &waits {
                now += wait;
                if acquire(&limiter, &[("u", &policy)], 0, now).is_ok() {
                    passed.push(now);
                    let within = passed.iter().filter(|&&at| at + span > now).count();
                    prop_assert!(u64::try_from(within).unwrap() <= limit + burst);
                } else {
                    let within = passed.iter().filter(|&&at| at + span > now).count();
                    prop_assert!(u64::try_from(within).unwrap() >= limit.min(burst + 1));
                }
            }
        }
    }
}
