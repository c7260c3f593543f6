//! Days of 23 and 25 hours, days without midnight, days that never were, and what holds of all.

use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> i64 {
    let moment: Timestamp = text.parse().expect("a time stamp");
    moment.as_millisecond()
}

fn instance(window: Window, now: &str) -> (i64, i64) {
    let (start, end) = window.bounds(window.index(ms(now)));
    (start.expect("a start"), end.expect("an end"))
}

fn holds(window: Window, now: &str, start: &str, end: &str) {
    assert_eq!(
        instance(window, now),
        (ms(start), ms(end)),
        "{window:?} at {now}"
    );
}

fn day(zone: &str) -> Window {
    Window::day(zone).expect("a zone")
}

#[test]
fn days_follow_daylight_saving() {
    let oslo = day("Europe/Oslo");
    holds(
        oslo,
        "2026-03-29T12:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
    ); // 23 hours
    holds(
        oslo,
        "2026-10-25T12:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    ); // 25 hours
    holds(
        oslo,
        "2026-10-25T22:59:59.999Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
    );
    holds(
        oslo,
        "2026-10-25T23:00:00Z",
        "2026-10-25T23:00:00Z",
        "2026-10-26T23:00:00Z",
    );
    holds(
        day("Asia/Kathmandu"),
        "2026-01-01T00:00:00Z",
        "2025-12-31T18:15:00Z",
        "2026-01-01T18:15:00Z",
    );
    holds(
        day("UTC"),
        "1969-12-31T23:59:59.999Z",
        "1969-12-31T00:00:00Z",
        "1970-01-01T00:00:00Z",
    );
    // Half an hour of daylight saving.
    holds(
        day("Australia/Lord_Howe"),
        "2026-04-05T00:00:00Z",
        "2026-04-04T13:00:00Z",
        "2026-04-05T13:30:00Z",
    );
    // By rules, beyond any table.
    holds(
        oslo,
        "2150-07-01T00:00:00Z",
        "2150-06-30T22:00:00Z",
        "2150-07-01T22:00:00Z",
    );
}

#[test]
fn a_day_without_midnight_begins_when_the_clock_jumps_over_it() {
    let sao_paulo = day("America/Sao_Paulo"); // 00:00 became 01:00
    holds(
        sao_paulo,
        "2018-11-04T12:00:00Z",
        "2018-11-04T03:00:00Z",
        "2018-11-05T02:00:00Z",
    );
    holds(
        sao_paulo,
        "2018-11-04T02:59:59.999Z",
        "2018-11-03T03:00:00Z",
        "2018-11-04T03:00:00Z",
    );
    let toronto = day("America/Toronto"); // 23:30 on the 30th became 00:30 on the 31st
    holds(
        toronto,
        "1919-03-31T12:00:00Z",
        "1919-03-31T04:30:00Z",
        "1919-04-01T04:00:00Z",
    );
}

#[test]
fn a_day_begins_once_where_the_clock_is_set_back_over_midnight() {
    let sao_paulo = day("America/Sao_Paulo"); // 24:00 became 23:00
    holds(
        sao_paulo,
        "2018-02-18T02:30:00Z",
        "2018-02-17T02:00:00Z",
        "2018-02-18T03:00:00Z",
    );
    let st_johns = day("America/St_Johns"); // 00:01 became 23:01
    for now in [
        "2006-10-29T02:30:30Z",
        "2006-10-29T02:31:00Z",
        "2006-10-29T03:30:00Z",
    ] {
        holds(
            st_johns,
            now,
            "2006-10-29T02:30:00Z",
            "2006-10-30T03:30:00Z",
        );
    }
}

#[test]
fn a_day_that_a_zone_skipped_never_holds() {
    let apia = day("Pacific/Apia"); // from the 29th of December 2011 to the 31st
    holds(
        apia,
        "2011-12-30T09:59:59.999Z",
        "2011-12-29T10:00:00Z",
        "2011-12-30T10:00:00Z",
    );
    holds(
        apia,
        "2011-12-30T10:00:00Z",
        "2011-12-30T10:00:00Z",
        "2011-12-31T10:00:00Z",
    );
    let skipped = apia.index(ms("2011-12-30T09:59:59.999Z")) + 1;
    assert_eq!(apia.index(ms("2011-12-30T10:00:00Z")), skipped + 1);
    let (start, end) = apia.bounds(skipped);
    assert_eq!(start, end);
    let week = Window::week("Pacific/Apia").expect("a zone");
    holds(
        week,
        "2011-12-30T10:00:00Z",
        "2011-12-26T10:00:00Z",
        "2012-01-01T10:00:00Z",
    );
}

#[test]
fn weeks_begin_on_monday_and_months_on_their_first_day() {
    let week = Window::week("UTC").expect("a zone");
    holds(
        week,
        "2026-11-22T23:59:59.999Z",
        "2026-11-16T00:00:00Z",
        "2026-11-23T00:00:00Z",
    );
    holds(
        week,
        "1970-01-01T00:00:00Z",
        "1969-12-29T00:00:00Z",
        "1970-01-05T00:00:00Z",
    );
    let month = Window::month("America/New_York").expect("a zone");
    holds(
        month,
        "2026-03-01T04:59:59.999Z",
        "2026-02-01T05:00:00Z",
        "2026-03-01T05:00:00Z",
    );
    holds(
        month,
        "2026-03-01T05:00:00Z",
        "2026-03-01T05:00:00Z",
        "2026-04-01T04:00:00Z",
    );
    holds(
        month,
        "2024-02-29T12:00:00Z",
        "2024-02-01T05:00:00Z",
        "2024-03-01T05:00:00Z",
    );
    assert_eq!(month.index(ms("1969-12-31T12:00:00Z")), -1);
}

#[test]
fn a_rolling_window_counts_a_bucket_until_it_lies_wholly_outside() {
    let window = Window::rolling(60, 6).expect("a window");
    assert_eq!(window.buckets(), 7);
    let spent = window.index(9_999);
    assert_eq!((spent, window.bounds(spent)), (0, (Some(0), Some(10_000))));
    let counts = |now_ms| window.index(now_ms) - spent < 7;
    assert!(counts(69_999)); // its last millisecond is a minute old
    assert!(!counts(70_000));
    // 1,000 ms in three parts last 334 ms each: 1,002 in all, never less than the window.
    let thirds = Window::rolling(1, 3).expect("a window");
    assert_eq!(thirds.bounds(3), (Some(1_002), Some(1_336)));
}

#[test]
fn the_total_never_ends() {
    assert_eq!(Window::total().index(i64::MAX), 0);
    assert_eq!(Window::total().bounds(0), (None, None));
    assert_eq!(Window::total().buckets(), 1);
}

#[test]
fn what_cannot_be_a_window_is_refused_with_what_can() {
    let error = Window::day("europe/oslo").expect_err("a zone");
    assert_eq!(
        error.to_string(),
        "\"europe/oslo\" is no time zone: it takes a name of the IANA database, such as \"Europe/Oslo\""
    );
    for name in [
        "",
        "CEST",
        "+02:00",
        "Europe/Gotham",
        "Europe/Oslo ",
        "../UTC",
    ] {
        assert!(
            matches!(Window::month(name), Err(PeriodError::UnknownZone { .. })),
            "{name}"
        );
    }
    assert_eq!(Window::rolling(0, 1), Err(PeriodError::Seconds(0)));
    assert_eq!(
        Window::rolling(u64::MAX, 1),
        Err(PeriodError::Seconds(u64::MAX))
    );
    assert_eq!(Window::rolling(1, 0), Err(PeriodError::Buckets(0)));
    assert_eq!(Window::rolling(1, 1_001), Err(PeriodError::Buckets(1_001)));
}

#[test]
fn windows_are_equal_when_they_are_asked_for_alike() {
    assert_eq!(day("Asia/Tokyo"), day("Asia/Tokyo"));
    assert_ne!(day("Asia/Tokyo"), day("Asia/Seoul"));
    assert_ne!(
        day("Asia/Tokyo"),
        Window::week("Asia/Tokyo").expect("a zone")
    );
    assert_eq!(day("Asia/Tokyo").zone(), Some("Asia/Tokyo"));
    assert!(size_of::<Window>() <= 16);
}

#[test]
fn every_zone_has_data_of_its_own() {
    assert!(zones().len() > 500);
    let utc = |zone: &TimeZone| zone.iana_name() == Some("UTC");
    for (place, entry) in zones().iter().enumerate() {
        let zone = Zone(u16::try_from(place).expect("few zones"));
        assert_eq!(Zone::named(&entry.name), Ok(zone));
        assert!(!utc(zone.data()) || entry.name == "UTC", "{}", entry.name);
    }
}

fn any_window() -> impl Strategy<Value = Window> {
    let zone = (0..zones().len()).prop_map(|place| Zone(u16::try_from(place).unwrap_or(0)));
    prop_oneof![
        zone.clone().prop_map(|zone| Window(Span::Day(zone))),
        zone.clone().prop_map(|zone| Window(Span::Week(zone))),
        zone.prop_map(|zone| Window(Span::Month(zone))),
        Just(Window::total()),
        (1..=MAX_ROLLING_SECONDS, 1..=MAX_BUCKETS)
            .prop_map(|(seconds, buckets)| Window(Span::Rolling { seconds, buckets })),
    ]
}

/// Instants of any year, and many within those whose clocks were changed most.
fn any_instant() -> impl Strategy<Value = i64> {
    prop_oneof![
        EARLIEST_MS..=LATEST_MS,
        -2_000_000_000_000..4_000_000_000_000_i64
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_instant_lies_in_the_period_of_its_number(window in any_window(), now in any_instant()) {
        let (start, end) = window.bounds(window.index(now));
        prop_assert!(start.is_none_or(|start| start <= now));
        prop_assert!(end.is_none_or(|end| now < end));
    }

    #[test]
    fn periods_follow_one_another_without_a_gap(window in any_window(), now in any_instant()) {
        let index = window.index(now);
        let (start, end) = window.bounds(index);
        prop_assert_eq!(end, window.bounds(index + 1).0);
        if let (Some(start), Some(end)) = (start, end) {
            prop_assert!(window.index(end) > index);
            prop_assert!(window.index(start) == index && window.index(start - 1) < index);
        }
    }

    #[test]
    fn numbers_never_fall(
        window in any_window(), now in any_instant(), later in prop_oneof![0..200_000_000_i64, 0..i64::MAX / 2]
    ) {
        prop_assert!(window.index(now) <= window.index(now.saturating_add(later)));
    }

    #[test]
    fn no_number_of_any_size_fails(window in any_window(), index in any::<i64>(), now in any::<i64>()) {
        let (start, end) = window.bounds(index);
        prop_assert!(start <= end);
        let _ = window.index(now);
    }
}
