//! A steady flow with a burst: the generic cell rate algorithm (ITU-T I.371, "virtual scheduling").
//!
//! The theoretical arrival time of the next request is kept as whole nanoseconds and a fraction whose
//! denominator is the limit, so that the interval between two requests, `span / limit`, is exact and
//! nothing is ever rounded. Of N requests that pass within less than a span, the last one found
//! `(N - 1) · span / limit` at least since the first, less `burst · span / limit` that it may be early:
//! so N is at most limit + burst.

/// A limit and its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) limit: u32,
    pub(super) burst: u32,
}

/// When the next request is due: `ns + part / limit` nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    ns: u64,
    part: u32,
    limit: u32,
}

impl Flow {
    /// How far it is due after now, in nanoseconds' parts, of which `limit` make one: a request is
    /// `span` of them.
    fn ahead(self, limit: u32, now: u64) -> u128 {
        let Some(whole) = self.ns.checked_sub(now) else {
            return 0;
        };
        let part = if self.limit == limit {
            u64::from(self.part)
        } else {
            // Of another limit: time is time, rounded up to a part.
            (u64::from(self.part) * u64::from(limit)).div_ceil(u64::from(self.limit.max(1)))
        };
        u128::from(whole) * u128::from(limit) + u128::from(part)
    }

    /// How far it may be due after now for a request to pass.
    fn tolerance(rate: Rate, span: u64) -> u128 {
        u128::from(rate.burst) * u128::from(span)
    }

    /// What it is after one more request, unless that comes too soon.
    pub(super) fn admit(self, rate: Rate, span: u64, now: u64) -> Option<Self> {
        let ahead = self.ahead(rate.limit, now);
        if rate.limit == 0 || ahead > Self::tolerance(rate, span) {
            return None;
        }
        let after = ahead + u128::from(span);
        let limit = u64::from(rate.limit);
        // Nearly always it fits in 64 bits, which are divided much faster.
        let (whole, part) = match u64::try_from(after) {
            Ok(after) => (after / limit, after % limit),
            Err(_) => (
                u64::try_from(after / u128::from(limit)).ok()?,
                u64::try_from(after % u128::from(limit)).ok()?,
            ),
        };
        Some(Self {
            ns: now + whole,
            part: u32::try_from(part).ok()?,
            limit: rate.limit,
        })
    }

    /// In how many nanoseconds a request would pass; of a limit above 0.
    pub(super) fn wait(self, rate: Rate, span: u64, now: u64) -> u64 {
        let early = self
            .ahead(rate.limit, now)
            .saturating_sub(Self::tolerance(rate, span));
        let wait = early.div_ceil(u128::from(rate.limit.max(1)));
        u64::try_from(wait).unwrap_or(u64::MAX)
    }

    /// How many would pass now.
    pub(super) fn remaining(self, rate: Rate, span: u64, now: u64) -> u64 {
        if rate.limit == 0 {
            return 0;
        }
        let ahead = self.ahead(rate.limit, now);
        let left = Self::tolerance(rate, span).checked_sub(ahead);
        let more = left.map_or(0, |left| left / u128::from(span) + 1);
        u64::try_from(more).unwrap_or(u64::MAX)
    }

    /// From when on nothing of it is used.
    pub(super) fn until(self) -> u64 {
        self.ns + u64::from(self.part > 0)
    }
}
