//! How holds whose owner is gone end: at their deadline they are booked at what they held, and for a
//! while they can be corrected.

use super::Ledger;
use super::hold::{Deadline, Head, Hold, Part, Stage, State, generation_of, id as id_of};
use super::settle::is_open;
use super::types::HoldId;

impl Ledger {
    /// Puts a hold's deadline off, or forward; `false` when it is open no more.
    #[must_use]
    pub fn renew(&self, hold: HoldId, deadline_ms: i64) -> bool {
        let generation = generation_of(hold.0);
        loop {
            let Ok(Some((cell, state))) = self.find(hold) else {
                return false;
            };
            let before = cell.head.deadline();
            if !is_open(state) || before.is_passed() || !before.belongs_to(generation) {
                return false;
            }
            let after = Deadline::at(deadline_ms, generation);
            if cell.head.move_deadline(before, after) {
                return true;
            }
        }
    }

    /// Books the holds that are past their deadline at what they held, and gives their ids.
    ///
    /// It also forgets the holds that expired so long ago that they can be corrected no more.
    #[must_use = "their owners may want to know"]
    pub fn expire(&self, now_ms: i64) -> Vec<HoldId> {
        let mut expired = Vec::new();
        for index in self.cells() {
            let hold = self.hold(index);
            let state = hold.head.state();
            match state.stage() {
                Stage::Open
                    if pass(hold.head, state, now_ms)
                        && self.expire_one(hold, state.generation()) =>
                {
                    expired.push(HoldId(id_of(index, state.generation())));
                }
                Stage::Expired => self.forget(index, hold, state, now_ms),
                _ => {}
            }
        }
        self.forget_keys(now_ms);
        expired
    }

    /// Books a hold at what it holds, unless it ends meanwhile.
    fn expire_one(&self, hold: Hold<'_>, generation: u64) -> bool {
        loop {
            let state = hold.head.state();
            if state.generation() != generation || !is_open(state) {
                return false;
            }
            let Some(extensions) = self.extensions(hold.head, state) else {
                continue;
            };
            // Copied first: as soon as it has expired, a correction may end it and free its cell.
            let mut parts = Vec::with_capacity(8);
            parts.extend(hold.parts().iter().map(Part::get));
            for index in extensions {
                parts.extend(self.hold(index).parts().iter().map(Part::get));
            }
            if hold
                .head
                .advance(state, state.to(Stage::Expired, state.detail()))
            {
                for part in &parts {
                    self.post(part, 0, part.amount);
                }
                return true;
            }
        }
    }

    /// Ends an expired hold for good when the time for corrections is over.
    fn forget(&self, index: u32, hold: Hold<'_>, state: State, now_ms: i64) {
        let over = hold.head.deadline().ms().saturating_add(self.late_ms);
        let ending = state.to(Stage::Ending, state.detail());
        if now_ms <= over || !hold.head.advance(state, ending) {
            return;
        }
        for index in self.extensions(hold.head, ending).unwrap_or_default() {
            let child = self.hold(index).head;
            child.put(child.state().to(Stage::Over, 0));
            self.give_hold(index);
        }
        hold.head.put(ending.to(Stage::Over, 0));
        self.give_hold(index);
    }
}

/// Whether an open hold is past its deadline, which then can be put off no more.
fn pass(head: &Head, state: State, now_ms: i64) -> bool {
    let deadline = head.deadline();
    if !deadline.belongs_to(state.generation()) {
        return false;
    }
    deadline.is_passed()
        || (deadline.ms() <= now_ms
            && head.move_deadline(deadline, Deadline::passed(now_ms, state.generation())))
}
