//! The pricing room held to a slow, obvious reading of its rules.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::money::{MoneyError, Nanodollars};

/// One US dollar per million units.
const DOLLAR: u128 = 1_000_000_000_000_000_000;

fn card(rates: &[(Unit, Option<u64>, u128)]) -> RateCard {
    RateCard::new(rates.iter().copied(), [], None).unwrap()
}

fn counts(buckets: &[(Unit, u64)]) -> Counts {
    let mut counts = Counts::default();
    for (bucket, tokens) in buckets {
        counts.set(*bucket, Some(*tokens));
    }
    counts
}

fn cost(card: &RateCard, buckets: &[(Unit, u64)]) -> Result<u64, PricingError> {
    card.cost(&counts(buckets)).map(Nanodollars::get)
}

#[test]
fn a_million_tokens_at_a_dollar_a_million_cost_a_dollar() {
    let card = card(&[
        (Unit::Input, None, DOLLAR),
        (Unit::Output, None, 2 * DOLLAR),
    ]);
    let usage = [(Unit::Input, 1_000_000), (Unit::Output, 1_000_000)];
    assert_eq!(cost(&card, &usage), Ok(3_000_000_000));
}

#[test]
fn the_sum_is_rounded_up_once_and_not_each_bucket() {
    // A tenth of a nanodollar per token, twice: one nanodollar in all, not two.
    let card = card(&[
        (Unit::Input, None, DOLLAR / 10_000),
        (Unit::Output, None, DOLLAR / 10_000),
    ]);
    assert_eq!(cost(&card, &[(Unit::Input, 1), (Unit::Output, 1)]), Ok(1));
    assert_eq!(cost(&card, &[(Unit::Input, 10), (Unit::Output, 0)]), Ok(1));
    assert_eq!(cost(&card, &[(Unit::Input, 10), (Unit::Output, 1)]), Ok(2));
}

#[test]
fn a_tier_holds_for_the_whole_request_once_its_input_is_above_the_threshold() {
    let card = card(&[
        (Unit::Input, Some(200), 2 * DOLLAR),
        (Unit::Input, None, DOLLAR),
        (Unit::Output, None, DOLLAR),
        (Unit::Output, Some(200), 5 * DOLLAR),
    ]);
    let at = |input, cached, output| {
        cost(
            &card,
            &[
                (Unit::Input, input),
                (Unit::CacheRead, cached),
                (Unit::Output, output),
            ],
        )
    };
    assert_eq!(at(200, 0, 10), Ok(210_000));
    assert_eq!(at(201, 0, 10), Ok(402_000 + 50_000));
    assert_eq!(
        at(100, 101, 10),
        Ok(402_000 + 50_000),
        "cached input counts towards the threshold"
    );
}

#[test]
fn what_has_no_rate_of_its_own_is_charged_as_what_it_is_a_part_of() {
    let plain = card(&[
        (Unit::Input, None, DOLLAR),
        (Unit::Output, None, 2 * DOLLAR),
    ]);
    for bucket in Unit::ALL {
        let other = if bucket.side() == Side::Input {
            Unit::Output
        } else {
            Unit::Input
        };
        let expected = if bucket.side() == Side::Input {
            1_000
        } else {
            2_000
        };
        assert_eq!(
            cost(&plain, &[(*bucket, 1), (other, 0)]),
            Ok(expected),
            "{bucket}"
        );
    }
    let written = card(&[
        (Unit::Input, None, DOLLAR),
        (Unit::CacheWrite, None, 3 * DOLLAR),
    ]);
    assert_eq!(cost(&written, &[(Unit::CacheWrite1h, 1)]), Ok(3_000));
}

#[test]
fn a_bucket_that_nothing_prices_is_an_error_and_never_nothing() {
    let empty = RateCard::default();
    for bucket in Unit::ALL {
        assert_eq!(
            cost(&empty, &[(*bucket, 1)]),
            Err(PricingError::NoRate(*bucket))
        );
    }
    let mut searched = counts(&[(Unit::Input, 0), (Unit::Output, 0)]);
    searched.add_requests("web_search".to_owned(), 1);
    assert_eq!(
        empty.cost(&searched),
        Err(PricingError::NoRequestRate("web_search".to_owned()))
    );
}

#[test]
fn what_is_cached_and_of_a_kind_is_ambiguous_when_both_have_rates_and_it_has_none() {
    for (kind, cached) in [
        (Unit::InputAudio, Unit::CacheReadAudio),
        (Unit::InputImage, Unit::CacheReadImage),
        (Unit::InputVideo, Unit::CacheReadVideo),
    ] {
        let plain = (Unit::Input, None, DOLLAR);
        let dear = (kind, None, 3 * DOLLAR);
        let cheap = (Unit::CacheRead, None, DOLLAR / 10);
        let charged = |rates: &[_]| cost(&card(rates), &[(cached, 1)]);
        assert_eq!(
            charged(&[plain, dear, cheap]),
            Err(PricingError::AmbiguousRate {
                unit: cached,
                first: kind,
                second: Unit::CacheRead
            })
        );
        assert_eq!(charged(&[plain]), Ok(1_000));
        assert_eq!(charged(&[plain, dear]), Ok(3_000));
        assert_eq!(charged(&[plain, cheap]), Ok(100));
        assert_eq!(
            charged(&[plain, dear, cheap, (cached, None, 2 * DOLLAR)]),
            Ok(2_000)
        );
    }
}

#[test]
fn a_side_that_costs_must_be_known() {
    let card = card(&[(Unit::Input, None, DOLLAR), (Unit::Output, None, DOLLAR)]);
    let missing = |side| Err(PricingError::MissingUsage(side));
    assert_eq!(cost(&card, &[(Unit::Input, 5)]), missing(Side::Output));
    assert_eq!(cost(&card, &[(Unit::Reasoning, 5)]), missing(Side::Input));
    assert_eq!(
        cost(&card, &[(Unit::CacheRead, 0), (Unit::Reasoning, 0)]),
        Ok(0)
    );
}

#[test]
fn requests_and_the_call_itself_are_charged() {
    let rates = [(Unit::Input, None, DOLLAR), (Unit::Output, None, DOLLAR)];
    // Ten dollars a thousand searches, five a thousand calls.
    let searches = [("web_search".to_owned(), 10_000 * DOLLAR)];
    let card = RateCard::new(rates, searches, Some(5_000 * DOLLAR)).unwrap();
    let mut usage = counts(&[(Unit::Input, 0), (Unit::Output, 0)]);
    usage.add_requests("web_search".to_owned(), 2);
    assert_eq!(card.cost(&usage).unwrap().get(), 25_000_000);
    assert_eq!(card.upper_bound(0, 0, &[]).unwrap().get(), 5_000_000);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let dear = card(&[(Unit::Input, None, u128::MAX), (Unit::Output, None, DOLLAR)]);
    let too_large = Err(PricingError::Money(MoneyError::TooLarge));
    assert_eq!(
        cost(&dear, &[(Unit::Input, 2), (Unit::Output, 0)]),
        too_large
    );
    assert_eq!(
        cost(&dear, &[(Unit::Input, 1), (Unit::Output, 1)]),
        too_large
    );
    assert_eq!(
        cost(
            &dear,
            &[
                (Unit::Input, u64::MAX),
                (Unit::CacheRead, 1),
                (Unit::Output, 0)
            ]
        ),
        too_large
    );
}

#[test]
fn a_card_refuses_rates_that_contradict_each_other() {
    let twice = RateCard::new([(Unit::Input, None, 1), (Unit::Input, None, 2)], [], None);
    assert!(matches!(twice, Err(PricingError::DuplicateRate(_))));
    let twice = RateCard::new(
        [
            (Unit::Input, None, 1),
            (Unit::Input, Some(9), 2),
            (Unit::Input, Some(9), 3),
        ],
        [],
        None,
    );
    assert!(matches!(twice, Err(PricingError::DuplicateRate(_))));
    let twice = RateCard::new([], [("a".to_owned(), 1), ("a".to_owned(), 2)], None);
    assert!(matches!(twice, Err(PricingError::DuplicateRate(_))));
    let baseless = RateCard::new([(Unit::Output, Some(9), 2)], [], None);
    assert_eq!(baseless, Err(PricingError::NoBaseRate(Unit::Output)));
}

#[test]
fn a_bound_can_leave_out_what_a_call_cannot_use_but_not_plain_input_or_output() {
    let card = card(&[
        (Unit::Input, None, DOLLAR),
        (Unit::CacheWrite1h, None, 2 * DOLLAR),
        (Unit::InputImage, None, 9 * DOLLAR),
        (Unit::Output, None, DOLLAR),
    ]);
    let bound = |without: &[Unit]| card.upper_bound(1, 1, without).unwrap().get();
    assert_eq!(bound(&[]), 10_000);
    assert_eq!(bound(&[Unit::InputImage]), 3_000);
    assert_eq!(bound(&[Unit::InputImage, Unit::CacheWrite1h]), 2_000);
    assert_eq!(
        bound(&[
            Unit::InputImage,
            Unit::CacheWrite1h,
            Unit::Input,
            Unit::Output
        ]),
        2_000
    );
    assert_eq!(
        RateCard::default().upper_bound(0, 1, &[]),
        Err(PricingError::NoRate(Unit::Output))
    );
}

#[test]
fn periods_begin_at_midnight_utc_and_the_last_active_one_counts() {
    let at = |constraint, dollars: u128| Period {
        constraint,
        card: card(&[(Unit::Input, None, dollars)]),
    };
    let schedule = Schedule::new(
        vec![
            at(Constraint::From { day: 10 }, 1),
            at(Constraint::From { day: 20 }, 2),
            at(Constraint::From { day: 15 }, 3),
        ],
        vec![],
    )
    .unwrap();
    let period = |seconds| schedule.resolve(seconds, |_| None).period;
    assert_eq!(period(0), 0, "the first one, when none is active");
    assert_eq!(period(10 * 86_400), 0);
    assert_eq!(period(15 * 86_400 - 1), 0);
    assert_eq!(period(15 * 86_400), 2);
    assert_eq!(
        period(20 * 86_400),
        2,
        "a later one in the list wins over a later date"
    );
    assert_eq!(period(-1), 0);
}

#[test]
fn hours_of_the_day_may_run_over_midnight() {
    let day = Constraint::Daily {
        start: 3_600,
        end: 7_200,
    };
    assert_eq!(
        [3_599, 3_600, 7_199, 7_200].map(|s| day.active(s)),
        [false, true, true, false]
    );
    let night = Constraint::Daily {
        start: 80_000,
        end: 100,
    };
    assert_eq!(
        [79_999, 80_000, 86_400, 86_499, 86_500].map(|s| night.active(s)),
        [false, true, true, true, false]
    );
    assert!(night.active(-1), "before 1970 too");
    let never = Constraint::Daily {
        start: 100,
        end: 100,
    };
    assert!(!never.active(100));
}

#[test]
fn a_variant_replaces_only_what_it_names_and_the_first_one_counts() {
    let base = card(&[(Unit::Input, None, 10), (Unit::Output, None, 20)]);
    let variant = |value: &str, unit, rate| Variant {
        when: vec![("service_tier".to_owned(), value.to_owned())],
        constraint: Constraint::Always,
        card: card(&[(unit, None, rate)]),
    };
    let schedule = Schedule::new(
        vec![Period {
            constraint: Constraint::Always,
            card: base.clone(),
        }],
        vec![
            variant("flex", Unit::Input, 5),
            variant("flex", Unit::Input, 6),
            variant("fast", Unit::Output, 40),
        ],
    )
    .unwrap();
    let rates = |tier| {
        let resolution = schedule.resolve(0, |key| if key == "service_tier" { tier } else { None });
        schedule
            .card(resolution)
            .unwrap()
            .rates()
            .map(|(_, _, rate)| rate)
            .collect::<Vec<_>>()
    };
    assert_eq!(rates(None), [10, 20]);
    assert_eq!(rates(Some("flex")), [5, 20]);
    assert_eq!(rates(Some("fast")), [10, 40]);
    assert_eq!(
        schedule.card(Resolution {
            period: 1,
            variants: 0
        }),
        Err(PricingError::NoPeriod)
    );
    assert_eq!(Schedule::new(vec![], vec![]), Err(PricingError::NoPeriod));
}

fn rate_card() -> impl Strategy<Value = RateCard> {
    let rate = || 0..=600 * DOLLAR;
    let tiers = || vec((0_u64..500, rate()), 0..3);
    let units = Unit::ALL
        .iter()
        .map(|unit| (Just(*unit), option::of((rate(), tiers()))))
        .collect::<Vec<_>>();
    (units, option::of(rate())).prop_filter_map("duplicate thresholds", |(units, call)| {
        let mut rates = Vec::new();
        for (unit, prices) in units {
            if let Some((base, tiers)) = prices {
                rates.push((unit, None, base));
                rates.extend(
                    tiers
                        .into_iter()
                        .map(|(above, rate)| (unit, Some(above), rate)),
                );
            }
        }
        RateCard::new(rates, [], call).ok()
    })
}

/// A usage whose every bucket is known.
fn usage() -> impl Strategy<Value = [u64; Unit::COUNT]> {
    proptest::array::uniform16(0_u64..300)
}

/// Sums quotients and remainders apart, bucket by bucket, from the card's own listing.
fn slow_cost(card: &RateCard, usage: &[u64; Unit::COUNT]) -> Option<u128> {
    let unit = RATE_UNITS_PER_NANODOLLAR.get();
    let listed = card.rates().collect::<Vec<_>>();
    let total_input: u64 = usage[..Unit::Output as usize].iter().sum();
    let rate = |wanted: Unit| {
        let mut best = None;
        for (unit, above, rate) in &listed {
            if *unit == wanted && above.is_none_or(|above| total_input > above) {
                best = Some(*rate);
            }
        }
        best
    };
    let (mut whole, mut rest) = (
        card.call_rate().unwrap_or(0) / unit,
        card.call_rate().unwrap_or(0) % unit,
    );
    for (bucket, tokens) in Unit::ALL.iter().zip(usage) {
        let chain: &[Unit] = match bucket {
            Unit::Input => &[Unit::Input],
            Unit::CacheRead => &[Unit::CacheRead, Unit::Input],
            Unit::CacheWrite => &[Unit::CacheWrite, Unit::Input],
            Unit::CacheWrite1h => &[Unit::CacheWrite1h, Unit::CacheWrite, Unit::Input],
            Unit::InputAudio => &[Unit::InputAudio, Unit::Input],
            Unit::CacheReadAudio => &[
                Unit::CacheReadAudio,
                Unit::InputAudio,
                Unit::CacheRead,
                Unit::Input,
            ],
            Unit::InputImage => &[Unit::InputImage, Unit::Input],
            Unit::CacheReadImage => &[
                Unit::CacheReadImage,
                Unit::InputImage,
                Unit::CacheRead,
                Unit::Input,
            ],
            Unit::InputVideo => &[Unit::InputVideo, Unit::Input],
            Unit::CacheReadVideo => &[
                Unit::CacheReadVideo,
                Unit::InputVideo,
                Unit::CacheRead,
                Unit::Input,
            ],
            Unit::Output => &[Unit::Output],
            Unit::Reasoning => &[Unit::Reasoning, Unit::Output],
            Unit::OutputAudio => &[Unit::OutputAudio, Unit::Output],
            Unit::OutputImage => &[Unit::OutputImage, Unit::Output],
            Unit::OutputVideo => &[Unit::OutputVideo, Unit::Output],
            Unit::Citation => &[Unit::Citation, Unit::Output],
        };
        if *tokens > 0 {
            let amount = chain.iter().find_map(|unit| rate(*unit))? * u128::from(*tokens);
            whole += amount / unit;
            rest += amount % unit;
        }
    }
    Some(whole + rest / unit + u128::from(rest % unit > 0))
}

proptest! {
    #[test]
    fn cost_agrees_with_the_slow_reading(card in rate_card(), usage in usage()) {
        let mut counts = Counts::default();
        for (bucket, tokens) in Unit::ALL.iter().zip(usage) {
            counts.set(*bucket, Some(tokens));
        }
        match card.cost(&counts) {
            Ok(cost) => prop_assert_eq!(Some(u128::from(cost.get())), slow_cost(&card, &usage)),
            Err(PricingError::AmbiguousRate { .. }) => {}
            Err(error) => {
                prop_assert!(matches!(error, PricingError::NoRate(_)), "{}", error);
                prop_assert_eq!(slow_cost(&card, &usage), None);
            }
        }
    }

    #[test]
    fn no_call_costs_more_than_its_bound(card in rate_card(), usage in usage(), spare in 0_u64..100) {
        let (input, output) = usage.split_at(Unit::Output as usize);
        let (input, output) = (input.iter().sum::<u64>() + spare, output.iter().sum::<u64>() + spare);
        let mut counts = Counts::default();
        for (bucket, tokens) in Unit::ALL.iter().zip(usage) {
            counts.set(*bucket, Some(tokens));
        }
        if let (Ok(cost), Ok(bound)) = (card.cost(&counts), card.upper_bound(input, output, &[])) {
            prop_assert!(cost <= bound, "{:?} > {:?}", cost, bound);
        }
    }

    #[test]
    fn a_card_lists_what_it_was_made_of(card in rate_card()) {
        let again = RateCard::new(card.rates(), card.request_rates().to_vec(), card.call_rate());
        prop_assert_eq!(again, Ok(card));
    }
}
