//! On one thread the ledger equals the obvious one, whatever is done in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use cascadeflow_core::ledger::period::Window;
use cascadeflow_core::ledger::{
    Amounts, HoldId, Ledger, LedgerError, Limit, Opening, Outcome, Reservation, ScopeId,
};
use cascadeflow_core::money::Nanodollars;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::model::{Model, State};
use crate::{DAY, NOW, nano};

const LATE: i64 = 30_000;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn windows() -> [Window; 6] {
    [
        Window::day("UTC").unwrap(),
        Window::week("Europe/Oslo").unwrap(),
        Window::month("America/New_York").unwrap(),
        Window::total(),
        Window::rolling(10, 5).unwrap(),
        Window::rolling(3_600, 3).unwrap(),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Tick(i64),
    Open {
        name: usize,
        limits: Vec<Limit>,
        spent: Vec<u64>,
        more: u64,
        grant: Option<u64>,
    },
    SetLimits {
        name: usize,
        limits: Vec<Limit>,
    },
    SetGrant {
        name: usize,
        grant: Option<u64>,
    },
    Reserve {
        names: Vec<usize>,
        amounts: Vec<u64>,
        lasts: i64,
        key: Option<u8>,
        force: bool,
    },
    Extend {
        hold: Index,
        amounts: Vec<u64>,
        force: bool,
    },
    Settle {
        hold: Index,
        costs: Vec<u64>,
    },
    Release {
        hold: Index,
    },
    Renew {
        hold: Index,
        lasts: i64,
    },
    Expire,
    Adjust {
        name: usize,
        amount: i64,
    },
    Evict,
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let windows = proptest::sample::subsequence(windows().to_vec(), 0..=4);
    windows.prop_flat_map(|windows| {
        let amount = prop_oneof![
            6 => (0_u64..80).prop_map(|limit| Some(nano(limit))),
            2 => Just(None),
        ];
        let limits = proptest::collection::vec(amount, windows.len());
        limits.prop_map(move |limits| windows.iter().copied().zip(limits).collect())
    })
}

fn amounts() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(0_u64..20, NAMES.len() * 2)
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let grant = proptest::option::of(0_u64..200);
    let lasts = prop_oneof![0_i64..5_000, 0_i64..200_000];
    prop_oneof![
        4 => prop_oneof![-5_000_i64..5_000, 0_i64..100_000, -DAY..3 * DAY, Just(40 * DAY)].prop_map(Step::Tick),
        2 => (name.clone(), limits(), proptest::collection::vec(0_u64..40, 0..3), 0_u64..20, grant.clone())
            .prop_map(|(name, limits, mut spent, more, grant)| {
                spent.truncate(limits.len());
                Step::Open { name, limits, spent, more, grant }
            }),
        1 => (name.clone(), limits()).prop_map(|(name, limits)| Step::SetLimits { name, limits }),
        1 => (name.clone(), grant).prop_map(|(name, grant)| Step::SetGrant { name, grant }),
        8 => (
            proptest::sample::subsequence((0..NAMES.len()).collect::<Vec<_>>(), 1..=4).prop_shuffle(),
            amounts(), lasts.clone(), proptest::option::weighted(0.3, 0_u8..6), proptest::bool::weighted(0.1),
        ).prop_map(|(names, amounts, lasts, key, force)| Step::Reserve { names, amounts, lasts, key, force }),
        2 => (any::<Index>(), amounts(), proptest::bool::weighted(0.1))
            .prop_map(|(hold, amounts, force)| Step::Extend { hold, amounts, force }),
        6 => (any::<Index>(), amounts()).prop_map(|(hold, costs)| Step::Settle { hold, costs }),
        1 => any::<Index>().prop_map(|hold| Step::Release { hold }),
        1 => (any::<Index>(), lasts).prop_map(|(hold, lasts)| Step::Renew { hold, lasts }),
        2 => Just(Step::Expire),
        1 => (name, -40_i64..40).prop_map(|(name, amount)| Step::Adjust { name, amount }),
        1 => Just(Step::Evict),
    ]
}

fn each(amounts: &[u64], count: usize) -> (Vec<Nanodollars>, Vec<i64>) {
    let amounts = amounts.iter().take(count);
    let signed = amounts
        .clone()
        .map(|amount| i64::try_from(*amount).unwrap());
    (
        amounts.map(|amount| nano(*amount)).collect(),
        signed.collect(),
    )
}

struct Both {
    ledger: Ledger,
    model: Model,
    now: i64,
    /// The handle that a name had last, evicted or not.
    names: BTreeMap<usize, ScopeId>,
    holds: Vec<u64>,
}

impl Both {
    fn known(&self, name: usize) -> Option<ScopeId> {
        let scope = self.names.get(&name).copied();
        scope.filter(|scope| self.model.scopes.contains_key(scope))
    }

    fn pick(&self, hold: Index) -> Option<u64> {
        (!self.holds.is_empty()).then(|| self.holds[hold.index(self.holds.len())])
    }

    fn apply(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Tick(by) => self.now += by,
            Step::Open {
                name,
                limits,
                spent,
                more,
                grant,
            } => {
                let total = spent.iter().sum::<u64>() + more;
                let amounts: Vec<Nanodollars> = spent.iter().map(|amount| nano(*amount)).collect();
                let opening = Opening {
                    spent: &amounts,
                    total: nano(total),
                    grant: grant.map(nano),
                };
                let opened = self
                    .ledger
                    .open_scope("user", NAMES[name], &limits, now, &opening)
                    .unwrap();
                if let Some(known) = self.known(name) {
                    assert_eq!(opened, known);
                } else {
                    assert_ne!(Some(&opened), self.names.get(&name), "a handle came back");
                    self.names.insert(name, opened);
                    self.model.open(opened, &limits, now, &spent, total, grant);
                }
            }
            Step::SetLimits { name, limits } => match self.known(name) {
                Some(scope) => {
                    self.ledger.set_limits(scope, &limits, now).unwrap();
                    self.model.set_limits(scope, &limits, now);
                }
                None => {
                    if let Some(scope) = self.names.get(&name) {
                        assert_eq!(
                            self.ledger.set_limits(*scope, &limits, now),
                            Err(LedgerError::UnknownScope)
                        );
                    }
                }
            },
            Step::SetGrant { name, grant } => {
                if let Some(scope) = self.known(name) {
                    self.ledger.set_grant(scope, grant.map(nano)).unwrap();
                    self.model.set_grant(scope, grant);
                }
            }
            Step::Reserve {
                names,
                amounts,
                lasts,
                key,
                force,
            } => {
                self.reserve(&names, &amounts, lasts, key, force);
            }
            Step::Extend {
                hold,
                amounts,
                force,
            } => {
                if let Some(id) = self.pick(hold) {
                    let hold = &self.model.holds[&id];
                    let open = hold.state == State::Open;
                    let (given, signed) = each(&amounts, hold.parts.len());
                    let extended =
                        self.ledger
                            .extend(HoldId::from_raw(id), Amounts::Each(&given), now, force);
                    if open {
                        assert_eq!(
                            extended.unwrap(),
                            self.model.extend(id, &signed, now, force)
                        );
                    } else {
                        assert_eq!(extended, Err(LedgerError::HoldEnded));
                    }
                }
            }
            Step::Settle { hold, costs } => {
                if let Some(id) = self.pick(hold) {
                    let (given, signed) = each(&costs, self.model.holds[&id].parts.len());
                    let settled = self
                        .ledger
                        .settle(HoldId::from_raw(id), Amounts::Each(&given), now)
                        .unwrap();
                    self.check_end(settled, id, &signed, false);
                }
            }
            Step::Release { hold } => {
                if let Some(id) = self.pick(hold) {
                    let costs = vec![0; self.model.holds[&id].parts.len()];
                    let released = self.ledger.release(HoldId::from_raw(id), now).unwrap();
                    self.check_end(released, id, &costs, true);
                }
            }
            Step::Renew { hold, lasts } => {
                if let Some(id) = self.pick(hold) {
                    let renewed = self.ledger.renew(HoldId::from_raw(id), now + lasts);
                    assert_eq!(renewed, self.model.renew(id, now + lasts));
                }
            }
            Step::Expire => {
                let expired: BTreeSet<u64> = self
                    .ledger
                    .expire(now)
                    .into_iter()
                    .map(HoldId::get)
                    .collect();
                assert_eq!(expired, self.model.expire(now));
            }
            Step::Adjust { name, amount } => {
                if let Some(scope) = self.known(name) {
                    let booked = self.ledger.adjust(scope, amount, now).unwrap();
                    assert_eq!(booked, self.model.adjust(scope, amount, now));
                }
            }
            Step::Evict => {
                let evicted = self.ledger.evict(now, -i64::MAX / 2);
                let evicted: BTreeSet<(ScopeId, i64)> = evicted
                    .into_iter()
                    .map(|evicted| {
                        let name = NAMES
                            .iter()
                            .position(|name| *name == evicted.name.name())
                            .unwrap();
                        (
                            self.names[&name],
                            i64::try_from(evicted.total.get()).unwrap(),
                        )
                    })
                    .collect();
                assert_eq!(evicted, self.model.evict(now));
            }
        }
    }

    fn reserve(
        &mut self,
        names: &[usize],
        amounts: &[u64],
        lasts: i64,
        key: Option<u8>,
        force: bool,
    ) {
        let now = self.now;
        let scopes: Vec<ScopeId> = names
            .iter()
            .filter_map(|name| self.names.get(name).copied())
            .collect();
        let key = key.map(u128::from);
        let (given, signed) = each(amounts, scopes.len());
        let parts: Vec<(ScopeId, i64)> = scopes.iter().copied().zip(signed).collect();
        let reserved =
            self.ledger
                .reserve(&scopes, Amounts::Each(&given), now, now + lasts, key, force);
        if scopes.is_empty() {
            assert_eq!(reserved, Err(LedgerError::NoScopes));
            return;
        }
        let reserved = reserved.unwrap();
        if let Some(known) = key.and_then(|key| self.model.known(key)) {
            assert_eq!(reserved, Reservation::Held(HoldId::from_raw(known)));
            return;
        }
        match (reserved, self.model.refuses(&parts, now, force)) {
            (Reservation::Held(hold), None) => {
                self.holds.push(hold.get());
                self.model
                    .reserve(hold.get(), &parts, now, now + lasts, key);
            }
            (Reservation::Refused(refusal), expected) => assert_eq!(Some(refusal), expected),
            (held, expected) => panic!("{held:?} instead of {expected:?}"),
        }
    }

    fn check_end(
        &mut self,
        settled: cascadeflow_core::ledger::Settlement,
        id: u64,
        costs: &[i64],
        release: bool,
    ) {
        let (outcome, booked, overrun) = self.model.settle(id, costs, release);
        assert_eq!(settled.outcome, outcome);
        let expected = (outcome != Outcome::Already).then(|| nano(booked.unsigned_abs()));
        assert_eq!(settled.booked, expected);
        assert_eq!(settled.overrun, nano(overrun.max(0).unsigned_abs()));
    }

    fn compare(&self) {
        for (name, scope) in &self.names {
            let found = self.ledger.find_scope("user", NAMES[*name]);
            if !self.model.scopes.contains_key(scope) {
                assert_eq!(found, None);
                assert_eq!(self.ledger.total(*scope), Err(LedgerError::UnknownScope));
                continue;
            }
            assert_eq!(found, Some(*scope));
            assert_eq!(self.ledger.scope_name(*scope).unwrap().name(), NAMES[*name]);
            let (spent, held) = self.ledger.total(*scope).unwrap();
            let (expected_spent, expected_held) = self.model.total(*scope);
            assert_eq!(
                (spent.get(), held.get()),
                (expected_spent.unsigned_abs(), expected_held.unsigned_abs())
            );
            assert_eq!(
                self.ledger.standing(*scope, self.now).unwrap(),
                self.model.standing(*scope, self.now)
            );
        }
        let mut open = 0;
        for (id, hold) in &self.model.holds {
            open += usize::from(hold.state == State::Open);
            let amounts = self.ledger.held_amounts(HoldId::from_raw(*id));
            if hold.state == State::Over {
                assert_eq!(amounts, Err(LedgerError::HoldEnded));
            } else {
                let expected = hold
                    .parts
                    .iter()
                    .map(|(scope, held)| (*scope, nano(held.iter().sum::<i64>().unsigned_abs())));
                assert_eq!(amounts.unwrap(), expected.collect::<Vec<_>>());
            }
        }
        assert_eq!(self.ledger.open_holds(), open);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_one_thread_it_equals_the_obvious_ledger(steps in proptest::collection::vec(step(), 1..120)) {
        let mut both = Both {
            ledger: Ledger::new(LATE),
            model: Model::new(LATE),
            now: NOW,
            names: BTreeMap::new(),
            holds: Vec::new(),
        };
        for step in steps {
            both.apply(step);
            both.compare();
        }
    }
}
