//! How a hold grows: an extension is a hold of its own, tied to the first one.

use super::books::signed;
use super::hold::{Part, Stage, Target, index_of};
use super::reserve::Terms;
use super::settle::is_open;
use super::types::{Amounts, HoldId, LedgerError, Refusal, Reservation};
use super::word::Word;
use super::{Ledger, clamp_ms};

impl Ledger {
    /// Holds so much more under the same hold, on all its scopes or on none.
    ///
    /// It counts in the periods that hold when it is made.
    ///
    /// # Errors
    ///
    /// [`LedgerError::HoldEnded`], and as [`Self::reserve`].
    pub fn extend(
        &self,
        hold: HoldId,
        amounts: Amounts<'_>,
        now_ms: i64,
        force: bool,
    ) -> Result<Option<Refusal>, LedgerError> {
        let targets = loop {
            let Some((cell, state)) = self.find(hold)?.filter(|(_, state)| is_open(*state)) else {
                return Err(LedgerError::HoldEnded);
            };
            let parts: Vec<Target> = cell.parts().iter().map(Part::get).collect();
            if cell.head.state() != state {
                continue;
            }
            amounts.fits(parts.len())?;
            break parts;
        };
        let mut targets: Vec<Target> = targets
            .into_iter()
            .map(|part| Target {
                amount: amounts.get(part.place()).map_or(0, signed),
                ..part
            })
            .collect();
        let mut words = vec![Word(0); targets.len()];
        let terms = Terms {
            now_ms: clamp_ms(now_ms),
            deadline_ms: 0,
            key: None,
            force,
            extends: true,
        };
        let child = match self.hold_all(&mut targets, &mut words, &terms)? {
            Reservation::Held(child) => child,
            Reservation::Refused(refusal) => return Ok(Some(refusal)),
        };
        let index = index_of(child.0);
        let extension = self.hold(index);
        loop {
            let found = self.find(hold)?.filter(|(_, state)| is_open(*state));
            let Some((cell, state)) = found else {
                for part in &targets {
                    self.book(part, 0, false);
                }
                extension
                    .head
                    .put(extension.head.state().to(Stage::Over, 0));
                self.give_hold(index);
                return Err(LedgerError::HoldEnded);
            };
            extension.head.put_earlier(state.detail());
            if cell.head.advance(state, state.to(Stage::Open, index + 1)) {
                return Ok(None);
            }
        }
    }
}
