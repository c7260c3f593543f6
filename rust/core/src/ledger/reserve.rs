//! All or nothing over several scopes.
//!
//! A hold is put on its scopes in the order of their indices. Its cell says what it wants, so that a
//! thread that meets an undecided hold in its way can bring it to its end in its stead. What is in
//! doubt is never counted: nobody decides on a word before the hold named in it is decided.

use super::block::{Block, Current};
use super::books::nanodollars;
use super::hold::{
    Deadline, EXTENDS, FORCED, Hold, Stage, State, Target, generation_of, id as id_of, index_of,
};
use super::types::{Cause, LedgerError, Refusal, Reservation, ScopeId};
use super::word::{LAST_GENERATION, MOST, Mark, Tag, Word};
use super::{Ledger, is_live};

/// What is asked for besides the scopes and amounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) now_ms: i64,
    pub(super) deadline_ms: i64,
    pub(super) key: Option<u128>,
    pub(super) force: bool,
    pub(super) extends: bool,
}

/// Whether an amount fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// The word has counted as far as it can: the block needs a successor.
    Worn,
}

/// How far an attempt came.
enum Attempt {
    Held(u64),
    /// A scope filled up or moved on meanwhile.
    Again,
}

#[inline]
fn fit(block: &Block, word: Word, amount: i64, force: bool) -> Fit {
    let after = word.amount() + amount;
    if after > MOST {
        Fit::Worn
    } else if amount == 0 || after <= block.end() {
        Fit::Yes
    } else if !force {
        Fit::No
    } else {
        // Over the limits, but not over what can be counted.
        let used = block.books().map_or(MOST, |books| books.totals.used);
        if amount <= MOST - used {
            Fit::Yes
        } else {
            Fit::No
        }
    }
}

impl Ledger {
    /// Holds the targets' amounts on all scopes or on none. `targets` are in the order of their
    /// scopes' indices, and `words` has room for as many.
    #[inline]
    pub(super) fn hold_all(
        &self,
        targets: &mut [Target],
        words: &mut [Word],
        terms: &Terms,
    ) -> Result<Reservation, LedgerError> {
        loop {
            if let Some(known) = terms.key.and_then(|key| self.known(key)) {
                return Ok(Reservation::Held(known));
            }
            if let Some(refusal) = self.survey(targets, words, terms)? {
                // Another with the same key may be what it did not fit beside.
                let known = terms.key.and_then(|key| self.known(key));
                return Ok(known.map_or(Reservation::Refused(refusal), Reservation::Held));
            }
            if let Attempt::Held(id) = self.attempt(targets, words, terms)? {
                return Ok(Reservation::Held(super::HoldId(id)));
            }
        }
    }

    /// Looks at all scopes: fills in where they are, or says which one refuses.
    #[inline]
    fn survey(
        &self,
        targets: &mut [Target],
        words: &mut [Word],
        terms: &Terms,
    ) -> Result<Option<Refusal>, LedgerError> {
        for (target, seen) in targets.iter_mut().zip(words) {
            let index = target.index();
            let cell = self.scopes.at(index);
            let refusal = |cause| Refusal {
                scope: ScopeId(target.handle()),
                requested: nanodollars(target.amount),
                cause,
            };
            loop {
                let current = cell.current();
                if !is_live(cell, current, ScopeId(target.handle())) {
                    return Ok(Some(refusal(Cause::Stale)));
                }
                let block = self.blocks.at(current.block());
                let word = block.word();
                if word.closed() {
                    self.succeed(index, cell, current, &mut |_, _| ());
                    continue;
                }
                if terms.now_ms >= block.valid_until_ms() {
                    self.roll(index, cell, current, terms.now_ms);
                    continue;
                }
                if !self.is_at_rest(index, block, word) || cell.current() != current {
                    continue;
                }
                match fit(block, word, target.amount, terms.force) {
                    Fit::Yes => {
                        cell.touch(terms.now_ms);
                        target.current = current.0;
                        *seen = word;
                        break;
                    }
                    Fit::Worn => {
                        self.succeed(index, cell, current, &mut |_, _| ());
                    }
                    Fit::No => {
                        let reason = reason(block, target.amount, terms.force);
                        // It was so at one instant, so it may be said.
                        if block.word() == word && cell.current() == current {
                            match reason {
                                Reason::None => {}
                                Reason::Cause(cause) => return Ok(Some(refusal(cause))),
                                Reason::TooLarge => return Err(LedgerError::TooLarge),
                            }
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Puts a hold on all scopes, where the survey saw them.
    #[inline]
    fn attempt(
        &self,
        targets: &[Target],
        words: &[Word],
        terms: &Terms,
    ) -> Result<Attempt, LedgerError> {
        let (index, hold) = self.take_hold(targets.len())?;
        let generation = hold.head.state().generation() + 1;
        let flags = (u32::from(terms.extends) * EXTENDS) | (u32::from(terms.force) * FORCED);
        let undecided = State::new(generation, Stage::Undecided, flags);
        let id = id_of(index, generation);
        hold.fill(targets);
        hold.head
            .put_deadline(Deadline::at(terms.deadline_ms, generation));
        hold.head.put(undecided);
        if let Some(key) = terms.key
            && !self.claim(key, id, terms.deadline_ms)
        {
            hold.head.put(undecided.to(Stage::Over, 0));
            self.give_hold(index);
            return Ok(Attempt::Again);
        }
        let helped = self.put(targets, words, hold, undecided, id);
        if !hold.head.advance(undecided, decided(undecided)) || helped {
            let state = hold.head.state();
            if state.generation() == generation && state.stage() == Stage::Refused {
                self.take_back(targets, id);
                if let Some(key) = terms.key {
                    self.disclaim(key, id);
                }
                hold.head.put(state.to(Stage::Over, 0));
                self.give_hold(index);
                return Ok(Attempt::Again);
            }
            self.complete(targets, id);
        }
        Ok(Attempt::Held(id))
    }

    /// Puts a hold's name on its words, for its own thread; says whether another one took part.
    #[inline]
    fn put(
        &self,
        targets: &[Target],
        words: &[Word],
        hold: Hold<'_>,
        undecided: State,
        id: u64,
    ) -> bool {
        let mut helped = false;
        let added = Tag::new(id, Mark::Added);
        for (target, seen) in targets.iter().zip(words) {
            let block = self.blocks.at(Current(target.current).block());
            let mut word = *seen;
            while block
                .swap(word, Word::new(word.amount() + target.amount, added))
                .is_err()
            {
                let step = loop {
                    word = block.word();
                    match self.may_put(target, block, word, hold, undecided, id) {
                        Step::Look => {}
                        step => break step,
                    }
                };
                match step {
                    Step::Over => return true,
                    Step::Done => {
                        helped = true;
                        break;
                    }
                    Step::Put | Step::Look => {}
                }
            }
        }
        helped
    }

    /// Whether a hold's name may be put on a word as it was read.
    fn may_put(
        &self,
        target: &Target,
        block: &Block,
        word: Word,
        hold: Hold<'_>,
        undecided: State,
        id: u64,
    ) -> Step {
        // After the word was read: else it may be that of a later time, when the hold had been put
        // here, decided, and covered by another.
        if hold.head.state() != undecided {
            return Step::Over;
        }
        if word.tag().hold() == id && word.tag().mark() != Mark::Clean {
            return Step::Done;
        }
        let index = target.index();
        let cell = self.scopes.at(index);
        let refused = undecided.to(Stage::Refused, 0);
        if word.closed() || cell.current().0 != target.current {
            hold.head.advance(undecided, refused);
            return Step::Over;
        }
        if !self.is_at_rest(index, block, word) {
            return Step::Look;
        }
        let force = undecided.detail() & FORCED != 0;
        if fit(block, word, target.amount, force) == Fit::Yes {
            return Step::Put;
        }
        if block.word() != word {
            return Step::Look;
        }
        hold.head.advance(undecided, refused);
        Step::Over
    }

    /// Brings another thread's hold to its end.
    pub(super) fn help(&self, id: u64) {
        let hold = self.hold(index_of(id));
        let undecided = hold.head.state();
        if undecided.generation() != generation_of(id) || undecided.stage() != Stage::Undecided {
            return;
        }
        for part in hold.parts() {
            let target = part.get();
            let block = self.blocks.at(Current(target.current).block());
            loop {
                let word = block.word();
                match self.may_put(&target, block, word, hold, undecided, id) {
                    Step::Done => break,
                    Step::Over => return,
                    Step::Look => {}
                    Step::Put => {
                        let locked = Word::new(word.amount(), Tag::new(id, Mark::Locked));
                        if block.swap(word, locked).is_ok() {
                            break;
                        }
                    }
                }
            }
        }
        hold.head.advance(undecided, decided(undecided));
    }

    /// Adds a decided hold's amounts where a helper has only put its name.
    pub(super) fn complete(&self, targets: &[Target], id: u64) {
        let locked = Tag::new(id, Mark::Locked);
        for target in targets {
            let block = self.blocks.at(Current(target.current).block());
            loop {
                let word = block.word();
                if word.tag() != locked {
                    break;
                }
                self.is_at_rest(target.index(), block, word);
            }
        }
    }

    /// Takes a refused hold off the words that its own thread had put it on.
    #[cold]
    fn take_back(&self, targets: &[Target], id: u64) {
        for target in targets {
            let block = self.blocks.at(Current(target.current).block());
            loop {
                let word = block.word();
                let tag = word.tag();
                if tag.hold() != id || tag.mark() == Mark::Clean {
                    break;
                }
                self.is_at_rest(target.index(), block, word);
            }
        }
    }

    /// A free cell for so many parts.
    #[inline]
    pub(super) fn take_hold(&self, parts: usize) -> Result<(u32, Hold<'_>), LedgerError> {
        let index = self.take_cell(parts).ok_or(LedgerError::Full)?;
        Ok((index, self.hold(index)))
    }

    /// Gives back a cell whose hold is over.
    #[inline]
    pub(super) fn give_hold(&self, index: u32) {
        if self.hold(index).head.state().generation() < LAST_GENERATION {
            self.give_cell(index);
        }
    }
}

/// What a thread is to do with a word for a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Put the hold's name on it.
    Put,
    /// Read it again.
    Look,
    /// The hold's name is on it already.
    Done,
    /// The hold is decided.
    Over,
}

fn decided(undecided: State) -> State {
    if undecided.detail() & EXTENDS == 0 {
        undecided.to(Stage::Open, 0)
    } else {
        undecided.to(Stage::Extension, 0)
    }
}

/// Why an amount does not fit.
enum Reason {
    /// It does: something was given back just now.
    None,
    Cause(Cause),
    /// It is more than can be counted.
    TooLarge,
}

fn reason(block: &Block, amount: i64, force: bool) -> Reason {
    let Some(books) = block.books() else {
        return Reason::None;
    };
    let needed = books.totals.used.saturating_add(amount);
    let full = books.full(amount).filter(|_| !force);
    let grant = books.grant.filter(|_| !force);
    if let Some(standing) = full {
        Reason::Cause(Cause::Limit(standing))
    } else if needed > MOST {
        Reason::TooLarge
    } else if grant.is_some_and(|grant| needed > grant) {
        Reason::Cause(Cause::Grant {
            needed: nanodollars(needed),
        })
    } else {
        Reason::None
    }
}
